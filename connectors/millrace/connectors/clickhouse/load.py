"""ClickHouse as a target: check, load, verify, publish and retire versions. Names, types and statements: `layout`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from millrace.connectors.base import Loader, Version
from millrace.connectors.clickhouse import layout, lines
from millrace.connectors.clickhouse.endpoint import Endpoint, endpoint_of
from millrace.connectors.clickhouse.layout import Marker, Place
from millrace.connectors.clickhouse.link import Link
from millrace.connectors.clickhouse.options import ClickHouseOptions
from millrace.connectors.linked import LinkedTarget
from millrace.errors import TargetError
from millrace.spec.connection import Connection
from millrace.spec.connector import Mode, Options
from millrace.spec.types import Column

if TYPE_CHECKING:
    import pyarrow as pa

_OLDEST = (24, 10)  # from there on CREATE OR REPLACE VIEW is atomic (ClickHouse#70536)
_ATOMIC = ("Atomic", "Replicated", "Shared")
_NO_SIZE_LIMIT = {"max_table_size_to_drop": 0, "max_partition_size_to_drop": 0}


class ClickHouseTarget(LinkedTarget[Link]):
    """One asset as a view over the current version's table; see `base.Target` for when what is called."""

    probes: ClassVar[bool] = False

    def __init__(self, options: Options, connection: Connection) -> None:
        super().__init__(options, connection)
        assert isinstance(options, ClickHouseOptions)
        self.clickhouse = options
        self.key_columns = options.order_by
        self._database = options.database or ""

    def check(self, columns: Sequence[Column]) -> None:
        doing = "looking for the store"
        with self._checking():
            layout.check_columns(columns, self.clickhouse)
        found = self._link.version(doing)
        if found < _OLDEST:
            raise TargetError(
                f"{doing}: {self._endpoint} is ClickHouse {'.'.join(map(str, found))}",
                hint=f"millrace needs {'.'.join(map(str, _OLDEST))} or later, which replaces views atomically",
            )
        self._check_database(doing)

    def prepare(self, version: Version) -> None:
        """Make the version's empty table. What an earlier attempt at this version has left is dropped."""
        doing = f"preparing version {version.id} of {version.asset}"
        place = self._place(version)
        self._check_view(place, doing)
        self._refuse_current(place, doing, "load it as a new version")
        self._drop_tables(place, doing)
        if version.own_rows:
            engine, hidden = lines.engine(self.clickhouse, version.mode), lines.hidden_columns(version.mode)
            self._link.command(doing, layout.create_table(place, version.columns, self.clickhouse, engine, hidden))
        else:
            self._clone(version, place, doing)
        if self.clickhouse.ttl:  # a TTL that is wrong must fail now; until the publish, rows are counted and must stay
            self._link.command(doing, layout.modify_ttl(place, self.clickhouse.ttl))
            self._link.command(doing, f"ALTER TABLE {place.sql(place.table)} REMOVE TTL")

    def _clone(self, version: Version, place: Place, doing: str) -> None:
        """Make the version's table as a clone of the current one, with the columns that are new."""
        base = self._marker(place, place.view, doing)
        if base is None or base.rows_id != version.rows_id:
            raise TargetError(
                f"{doing}: readers of {self._endpoint} see {base.version if base else 'nothing'}, which is not one of "
                "the versions that this one goes on from",
                hint="load everything anew with `millrace run --full-refresh`",
            )
        for statement in lines.clone(place, Place(place.database, place.view, place.asset, base.version).table):
            self._link.command(doing, statement)
        number = base.number + 1
        self._link.command(doing, layout.note(place, place.marker(sealed=False, number=number)))
        for column in version.columns:
            definition = layout.column_definition(column, version.columns, self.clickhouse)
            self._link.command(doing, lines.add_column(place, definition))
        if version.mode is Mode.MERGE:
            self._link.command(doing, lines.set_number(place, number))

    def loader(self, version: Version) -> Loader:
        from millrace.connectors.clickhouse.loader import ClickHouseLoader

        filled = layout.filled_columns(version.columns, self.clickhouse)
        key = self.clickhouse.order_by
        return ClickHouseLoader(self._endpoint, self._place(version), version.columns, filled, key, version.deletes)

    def seal(self, version: Version) -> None:
        """Attach what the tasks have written to the version's table; hard links, so that it takes no time or room."""
        doing = f"putting version {version.id} of {version.asset} together"
        place = self._place(version)
        table = place.sql(place.table)
        marker = self._marker(place, place.table, doing)
        if marker is None:
            raise TargetError(
                f"{doing}: {self._endpoint} has no table {table} of this version",
                hint="somebody dropped it while it was loaded: run the spec again",
            )
        if not marker.sealed:
            parts = [name for name in self._staging(place, doing) if place.is_part(name)]
            self._make_room(version, place, parts, doing)
            for name in parts:
                self._link.command(doing, f"ALTER TABLE {table} ATTACH PARTITION ALL FROM {place.sql(name)}")
            self._link.command(doing, layout.note(place, replace(marker, sealed=True)))
        for name in self._staging(place, doing):
            self._drop(place, name, doing)

    def _make_room(self, version: Version, place: Place, parts: Sequence[str], doing: str) -> None:
        """Take away what the parts are to stand in place of; everything, or the interval, or nothing."""
        table = place.sql(place.table)
        if version.own_rows:
            self._link.command(doing, f"TRUNCATE TABLE {table}", _NO_SIZE_LIMIT)
        window = lines.in_window(self.clickhouse, version.window) if version.mode is Mode.APPEND else None
        if window is None:
            return
        outside = sum(
            int(self._link.rows(doing, f"SELECT count() FROM {place.sql(name)} WHERE NOT ({window})")[0][0])
            for name in parts
        )
        if outside:
            raise TargetError(
                f"{doing}: {outside:,} rows have a time in '{self.clickhouse.interval}' that is outside of the run's "
                f"interval, {version.window.start} to {version.window.end}",
                hint="keep to the interval in the source or the transform, e.g. `where: \"day = '{{ ds }}'\"`: else "
                "a run that is repeated would double them",
            )
        if not version.own_rows:
            self._link.command(doing, f"ALTER TABLE {table} DELETE WHERE {window}", {"mutations_sync": 2})

    def count(self, version: Version) -> int:
        place = self._place(version)
        doing = f"counting version {version.id} of {version.asset}"
        marker = self._marker(place, place.table, doing)
        condition = lines.new_rows(version, self.clickhouse, marker.number if marker else 1)
        return int(self._link.rows(doing, f"SELECT count() FROM {place.sql(place.table)} WHERE {condition}")[0][0])

    def mismatches(self, version: Version, sample: pa.Table) -> list[str]:
        from millrace.connectors.clickhouse.readback import mismatches

        filled = layout.filled_columns(version.columns, self.clickhouse)
        return mismatches(self._link, self._place(version), version.columns, filled, self.clickhouse.order_by, sample)

    def publish(self, version: Version) -> None:
        """Replace the view, in one atomic statement, by one over this version's table."""
        doing = f"publishing version {version.id} of {version.asset}"
        place = self._place(version)
        self._check_view(place, doing)
        marker = self._marker(place, place.table, doing)
        if marker is None or not marker.sealed:
            state = "no table" if marker is None else "only a half-loaded table"
            raise TargetError(
                f"{doing}: {self._endpoint} has {state} of this version",
                hint="run the spec again to load a new version",
            )
        if self.clickhouse.ttl and not self._has_ttl(place, doing):
            self._link.command(doing, layout.modify_ttl(place, self.clickhouse.ttl))
        if self.current(version.asset) != version.id:
            query = lines.shown(place, version.columns, version.mode)
            self._link.command(doing, layout.replace_view(place, query, marker))

    def current(self, asset: str) -> str | None:
        doing = f"looking up the current version of {asset}"
        place = self._place_of(asset, "")
        marker = self._marker(place, place.view, doing)
        return marker.version if marker is not None and marker.asset == asset else None

    def drop(self, version: Version) -> None:
        doing = f"dropping version {version.id} of {version.asset}"
        place = self._place(version)
        self._refuse_current(place, doing, "publish another one first")
        self._drop_tables(place, doing)

    def forget(self, version: Version) -> None:
        """Drop the version's table: the rows that others share with it are in their own, by hard links."""
        self.drop(version)

    def unpublish(self, asset: str) -> None:
        if self.current(asset) is not None:
            place = self._place_of(asset, "")
            self._link.command(f"taking {asset} away", f"DROP VIEW IF EXISTS {place.sql(place.view)}")

    def _connect(self) -> Link:
        return Link(endpoint_of(self.connection))

    @property
    def _endpoint(self) -> Endpoint:
        return self._link.endpoint

    def _place(self, version: Version) -> Place:
        return replace(self._place_of(version.asset, version.id), rows_id=version.rows_id)

    def _place_of(self, asset: str, version: str) -> Place:
        if not self._database:
            self._database = str(self._link.rows("looking for the database", "SELECT currentDatabase()")[0][0])
        return Place(self._database, self.clickhouse.table_of(asset), asset, version)

    def _check_database(self, doing: str) -> None:
        database = self._place_of("", "").database
        sql = "SELECT engine FROM system.databases WHERE name = {name:String}"
        found = self._link.rows(doing, sql, {"name": database})
        if not found:
            raise TargetError(
                f"{doing}: {self._endpoint} has no database '{database}'",
                hint=f"create it: CREATE DATABASE {layout.quote(database)} ENGINE = Atomic; or name another `database`",
            )
        if found[0][0] not in _ATOMIC:
            raise TargetError(
                f"{doing}: the database '{database}' of {self._endpoint} has the engine {found[0][0]}",
                hint="only databases of the engine Atomic or Replicated replace a view atomically: use such a one",
            )

    def _check_view(self, place: Place, doing: str) -> None:
        """Never take the place of what isn't ours."""
        sql = "SELECT comment FROM system.tables WHERE database = {database:String} AND name = {name:String}"
        found = self._link.rows(doing, sql, {"database": place.database, "name": place.view})
        marker = Marker.parse(str(found[0][0])) if found else None
        if found and (marker is None or marker.asset != place.asset):
            owner = "millrace did not make" if marker is None else f"shows the asset '{marker.asset}'"
            raise TargetError(
                f"{doing}: {self._endpoint} already has a table or view {place.sql(place.view)}, which {owner}",
                hint="name another one with the target's option `table`, or drop that one",
            )

    def _refuse_current(self, place: Place, doing: str, advice: str) -> None:
        if self.current(place.asset) == place.version:
            raise TargetError(f"{doing}: readers of {self._endpoint} see this version now", hint=advice)

    def _marker(self, place: Place, name: str, doing: str) -> Marker | None:
        sql = "SELECT comment FROM system.tables WHERE database = {database:String} AND name = {name:String}"
        found = self._link.rows(doing, sql, {"database": place.database, "name": name})
        return Marker.parse(str(found[0][0])) if found else None

    def _has_ttl(self, place: Place, doing: str) -> bool:
        sql = (
            "SELECT position(engine_full, ' TTL ') > 0 FROM system.tables"
            " WHERE database = {database:String} AND name = {name:String}"
        )
        return bool(self._link.rows(doing, sql, {"database": place.database, "name": place.table})[0][0])

    def _staging(self, place: Place, doing: str) -> Iterator[str]:
        """The tables that tasks of this version's load have made, in a fixed order."""
        sql = (
            "SELECT name FROM system.tables"
            " WHERE database = {database:String} AND startsWith(name, {table:String}) ORDER BY name"
        )
        found = self._link.rows(doing, sql, {"database": place.database, "table": place.table})
        return (str(row[0]) for row in found if place.is_staging(str(row[0])))

    def _drop_tables(self, place: Place, doing: str) -> None:
        for name in self._staging(place, doing):
            self._drop(place, name, doing)
        marker = self._marker(place, place.table, doing)
        if marker is not None and (marker.asset, marker.version) == (place.asset, place.version):
            self._drop(place, place.table, doing)

    def _drop(self, place: Place, name: str, doing: str) -> None:
        """Queries that read the table now end in peace: ClickHouse removes its files after the last of them."""
        self._link.command(doing, f"DROP TABLE IF EXISTS {place.sql(name)}", _NO_SIZE_LIMIT)
