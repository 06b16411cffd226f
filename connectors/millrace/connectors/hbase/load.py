"""HBase as a target: check, load, verify, publish and retire versions. The bytes are those of `layout`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from millrace.connectors.base import BatchTask, Field, Loader, Version
from millrace.connectors.hbase import layout
from millrace.connectors.hbase.endpoint import Endpoint, endpoint_of
from millrace.connectors.hbase.layout import Manifest, version_column
from millrace.connectors.hbase.options import HBaseOptions, LoadPath
from millrace.connectors.hbase.tables import Tables
from millrace.connectors.hbase.values import key_maker, row_decoder
from millrace.connectors.linked import LinkedTarget
from millrace.errors import TargetError, TransientError
from millrace.spec.connection import Connection
from millrace.spec.connector import Mode, Options
from millrace.spec.types import Column

if TYPE_CHECKING:
    import pyarrow as pa

    from millrace.connectors.hbase.staging import Staging

_PUBLISH_ATTEMPTS = 10
_KEYS_A_REGION = 1000
_MOST_KEYS = 100_000


def _now() -> datetime:
    return datetime.now(UTC)


class HBaseTarget(LinkedTarget[Tables]):
    """One asset's rows in a table of its version; see `base.Target` for when what is called."""

    probes: ClassVar[bool] = False

    def __init__(self, options: Options, connection: Connection, clock: Callable[[], datetime] = _now) -> None:
        super().__init__(options, connection)
        assert isinstance(options, HBaseOptions)
        self.hbase = options
        self.key_columns = options.template.columns
        self._clock = clock
        self._endpoint: Endpoint = endpoint_of(connection)
        self._foreseen: dict[str, list[bytes]] = {}  # by version, where to split its table

    def check(self, columns: Sequence[Column]) -> None:
        with self._checking():
            layout.row_key_of(self.hbase).check({column.name: column.type for column in columns})
            layout.places_of([Field(column, 1) for column in columns], self.hbase)
        if self.hbase.load is LoadPath.BULK and not self._endpoint.bulk:
            raise TargetError(
                f"target {self.connection}: `load: bulk` needs HBase's Java client and a folder for files",
                hint="add `hbase_home` (or `classpath`) and `staging` to the connection's URL, see docs/hbase.md",
            )
        if self.hbase.regions and not self._endpoint.has_java:
            raise TargetError(
                f"target {self.connection}: `regions` needs HBase's Java client: Thrift can't split a new table",
                hint="add `hbase_home` (or `classpath`) to the connection's URL, see docs/hbase.md",
            )
        self._link.names("looking for the store")

    def wanted_keys(self, version: Version) -> int:
        """Some for each region, where the row key's form alone doesn't tell where to split a new table."""
        regions = self.hbase.regions or 1
        told = layout.row_key_of(self.hbase).split_points(regions)
        return 0 if told or regions < 2 or not version.own_rows else min(regions * _KEYS_A_REGION, _MOST_KEYS)

    def foresee(self, version: Version, keys: pa.Table) -> None:
        from millrace.connectors.hbase.columns import even_splits

        types = {column.name: column.type for column in version.columns}
        self._foreseen[version.id] = even_splits(layout.row_key_of(self.hbase), types, keys, self.hbase.regions or 1)

    def prepare(self, version: Version) -> None:
        """Announce the version and make its table. What an earlier attempt at it has left is removed."""
        doing = f"preparing version {version.id} of {version.asset}"
        self._refuse_current(version, doing, "load it as a new version")
        known = self._link.manifests(doing, version.asset)
        line = [m for m in known.values() if m.rows_id == version.rows_id]
        stamp_ms = max([round(self._clock().timestamp() * 1000), *(m.stamp_ms + 1 for m in line)])
        manifest = self._manifest(version, stamp_ms)
        there = self._link.exists(doing, manifest.table)
        if not version.own_rows:
            if not there:
                raise self._gone(doing, manifest)
            self._link.announce(doing, manifest)
            return
        if there and not line:
            raise TargetError(
                f"{doing}: {self._endpoint} already has a table {manifest.table}, and it is no version of that asset",
                hint="name another one with the target's option `table`, or drop that one",
            )
        self._link.announce(doing, manifest)
        if self._endpoint.bulk and version.id in known:
            self._staging(known[version.id]).remove()
        if there:
            self._link.drop(doing, manifest.table)
        self._create(doing, manifest, self._link.current(doing, version.asset))

    def loader(self, version: Version) -> Loader:
        doing = f"loading version {version.id} of {version.asset}"
        manifest = self._stored(version, doing)
        merge = version.mode is Mode.MERGE
        if merge or self.hbase.load is LoadPath.THRIFT or not self._endpoint.bulk:
            from millrace.connectors.hbase.loader import ThriftLoader

            return ThriftLoader(self._endpoint, manifest, merge=merge, deletes=version.deletes)
        from millrace.connectors.hbase.bulk import BulkLoader

        bounds = [region.start for region in self._link.regions(doing, manifest.table) if region.start]
        return BulkLoader(self._endpoint, manifest, bounds, auto=self.hbase.load is LoadPath.AUTO)

    def seal(self, version: Version) -> None:
        """Let HBase take over the files that tasks have written; those that it has taken already are gone."""
        if not self._endpoint.bulk:
            return
        doing = f"letting HBase take over version {version.id} of {version.asset}"
        manifest = self._stored(version, doing)
        staging = self._staging(manifest)
        if staging.holds_files():
            from millrace.connectors.hbase.java import Java

            Java(self._endpoint, doing).take_over(staging.url, manifest.table)
        staging.remove()

    def count(self, version: Version) -> int:
        doing = f"counting version {version.id} of {version.asset}"
        table = self._stored(version, doing).table
        if self._endpoint.has_java:
            from millrace.connectors.hbase.java import Java

            if Java.is_at_hand():
                found = Java(self._endpoint, doing).count(table, self._link.regions(doing, table))
                if found is not None:
                    return found
        return self._link.count(doing, table)

    def probed(self, version: Version) -> bool:
        """A merge shares its table with the rows of earlier versions, which a count of the table would count too."""
        return version.mode is Mode.MERGE

    def probe(self, version: Version) -> BatchTask:
        from millrace.connectors.hbase.tasks import KeyCount

        doing = f"counting version {version.id} of {version.asset}"
        return KeyCount(self._endpoint, self._stored(version, doing), doing)

    def mismatches(self, version: Version, sample: pa.Table) -> list[str]:
        from millrace.connectors.wire.columns import python_rows
        from millrace.connectors.wire.differences import difference, same

        doing = f"reading back version {version.id} of {version.asset}"
        manifest = self._stored(version, doing)
        key_of, decode = key_maker(manifest), row_decoder(manifest)
        rows = python_rows(sample)
        keys = [key_of({name: row[name] for name in manifest.row_key.template.columns}) for row in rows]
        held = self._link.rows(doing, manifest.table, keys)
        found = []
        for key, row in zip(keys, rows, strict=True):
            got = decode(held[key]) if key in held else None
            gone = version.deletes is not None and row.get(version.deletes) is True
            expected = None if gone else {field.name: row[field.name] for field in manifest.fields}
            if not same(got, expected):
                found.append(difference(key, got, expected))
        return found

    def publish(self, version: Version) -> None:
        doing = f"publishing version {version.id} of {version.asset}"
        manifest = self._link.manifests(doing, version.asset).get(version.id)
        if manifest is None or not self._link.usable(doing, manifest.table):
            state = "nothing" if manifest is None else f"no table {manifest.table} in use"
            raise TargetError(
                f"{doing}: {self._endpoint} has {state} of this version",
                hint="somebody has dropped it: run the spec again to load a new version",
            )
        for _ in range(_PUBLISH_ATTEMPTS):
            raw = self._link.pointer(doing, version.asset)
            now = None if raw is None else self._link.parse(version.asset, raw)
            if now is not None and now.version == version.id:
                return
            if self._link.swap(doing, raw, manifest.published(self._clock(), None if now is None else now.version)):
                return
        raise TransientError(f"{doing} in {self._endpoint}: somebody else moves the pointer all the time")

    def current(self, asset: str) -> str | None:
        found = self._link.current(f"looking up the current version of {asset}", asset)
        return None if found is None else found.version

    def drop(self, version: Version) -> None:
        """Remove the version's table, unless it was never announced here: then the table is somebody else's."""
        doing = f"dropping version {version.id} of {version.asset}"
        self._refuse_current(version, doing, "publish another one first")
        manifest = self._link.manifests(doing, version.asset).get(version.id)
        if manifest is None:
            return
        self._link.drop(doing, manifest.table)
        if self._endpoint.bulk:
            self._staging(manifest).remove()
        self._link.withdraw(doing, version.asset, [version_column(version.id)])

    def forget(self, version: Version) -> None:
        doing = f"forgetting version {version.id} of {version.asset}"
        self._refuse_current(version, doing, "publish another one first", exactly=True)
        self._link.withdraw(doing, version.asset, [version_column(version.id)])

    def unpublish(self, asset: str) -> None:
        doing = f"unpublishing {asset}"
        versions = self._link.manifests(doing, asset)
        self._link.withdraw(doing, asset, [layout.CURRENT, *map(version_column, versions)])

    def _connect(self) -> Tables:
        return Tables(self._endpoint)

    def _create(self, doing: str, manifest: Manifest, current: Manifest | None) -> None:
        """Make the version's table; split as the row key's form says, or as HBase has split the current version's.

        Where both leave it in fewer parts than asked for, the keys that are about to be loaded say where.
        """
        splits = manifest.row_key.split_points(self.hbase.regions)
        if not splits and current is not None and self._link.exists(doing, current.table):
            splits = [region.start for region in self._link.regions(doing, current.table) if region.start]
        splits = max(splits, self._foreseen.get(manifest.version, []), key=len)
        if not splits or not self._endpoint.has_java:
            self._link.create(doing, manifest.table, manifest.families)
            return
        from millrace.connectors.hbase.java import Java

        Java(self._endpoint, doing).create_table(manifest.table, manifest.families, splits)

    def _staging(self, manifest: Manifest) -> Staging:
        from millrace.connectors.hbase.staging import Staging

        return Staging(self._endpoint.staging, manifest)

    def _manifest(self, version: Version, stamp_ms: int) -> Manifest:
        return Manifest.of(version, self.hbase, self._endpoint.namespace, stamp_ms)

    def _stored(self, version: Version, doing: str) -> Manifest:
        found = self._link.manifests(doing, version.asset).get(version.id)
        if found is None:
            raise self._gone(doing, self._manifest(version, 0))
        return found

    def _gone(self, doing: str, manifest: Manifest) -> TargetError:
        return TargetError(
            f"{doing}: {self._endpoint} has no table {manifest.table} of {manifest.asset}",
            hint="somebody has dropped it: run the spec again to load a new version",
        )

    def _refuse_current(self, version: Version, doing: str, hint: str, *, exactly: bool = False) -> None:
        """Never touch what readers see: the current version, or rows that it shares unless `exactly` it is meant."""
        now = self._link.current(doing, version.asset)
        if now is None:
            return
        shares = version.own_rows and now.rows_id == version.rows_id and not exactly
        if now.version == version.id or shares:
            raise TargetError(f"{doing} in {self._endpoint}: readers see its rows now", hint=hint)
