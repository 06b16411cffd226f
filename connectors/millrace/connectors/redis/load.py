"""Redis as a target: check, load, verify, publish and retire versions. The bytes are those of `layout`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from millrace.connectors.base import BatchTask, Loader, Version
from millrace.connectors.linked import LinkedTarget
from millrace.connectors.redis.endpoint import Address, Endpoint, endpoint_of
from millrace.connectors.redis.layout import Manifest, parse_manifest, pointer_key, versions_key
from millrace.connectors.redis.link import Store
from millrace.connectors.redis.members import comparable
from millrace.connectors.redis.options import RedisOptions
from millrace.connectors.redis.values import (
    get_arguments,
    get_command,
    is_missing,
    key_maker,
    value_decoder,
)
from millrace.errors import TargetError, TransientError
from millrace.spec.connection import Connection
from millrace.spec.connector import Options
from millrace.spec.types import Column

if TYPE_CHECKING:
    import pyarrow as pa

_SCAN_COUNT = 1000
_PUBLISH_ATTEMPTS = 10


def _now() -> datetime:
    return datetime.now(UTC)


class RedisTarget(LinkedTarget[Store]):
    """One asset's rows as keys of one Redis, cluster or embedded server; see `base.Target` for when what is called."""

    probes: ClassVar[bool] = True

    def __init__(self, options: Options, connection: Connection, clock: Callable[[], datetime] = _now) -> None:
        super().__init__(options, connection)
        assert isinstance(options, RedisOptions)
        self.redis = options
        self.key_columns = options.template.columns
        self._clock = clock
        self._erased_in_tasks: set[str] = set()

    def check(self, columns: Sequence[Column]) -> None:
        with self._checking("`key`"):
            self.redis.template.check({column.name: column.type for column in columns})
        if self.redis.members is not None:
            from millrace.connectors.redis.collections import column_problem

            names = (self.redis.template.columns, self.redis.members, self.redis.scores)
            if problem := column_problem(*names, columns):
                raise TargetError(
                    f"target {self.connection}: `value: {self.redis.value}`: {problem}",
                    hint="let the transform end with one row a key: the key's columns, and its arrays",
                )
        doing = "looking for the store"
        for _, reply in self._link.everywhere(doing, "PING"):
            if reply != b"PONG":
                raise TargetError(f"{doing}: {self._endpoint} answers {reply!r}", hint="is it a Redis?")

    def prepare(self, version: Version) -> None:
        """Announce the version. What an earlier attempt at it has left is searched for and removed: see `sweep`."""
        doing = f"preparing version {version.id} of {version.asset}"
        self._refuse_current(version, doing, "load it as a new version")
        manifest = Manifest.of(version, self.redis)
        if not version.own_rows:
            self._check_line(manifest, doing)
        elif self._stored_manifest(version, doing) is not None:
            self.sweep(version)
        key = versions_key(version.asset)
        self._link.call(doing, key, "HSET", key, version.id, manifest.to_json())

    def loader(self, version: Version) -> Loader:
        from millrace.connectors.redis.loader import RedisLoader

        return RedisLoader(self._endpoint, Manifest.of(version, self.redis), version.deletes)

    def probe(self, version: Version) -> BatchTask:
        from millrace.connectors.redis.tasks import KeyTask

        doing = f"counting version {version.id} of {version.asset}"
        return KeyTask(self._endpoint, Manifest.of(version, self.redis), "EXISTS", doing)

    def mismatches(self, version: Version, sample: pa.Table) -> list[str]:
        from millrace.connectors.wire.columns import python_rows
        from millrace.connectors.wire.differences import difference, same

        manifest = Manifest.of(version, self.redis)
        key_of, decode = key_maker(manifest), value_decoder(manifest)
        name, more = get_command(manifest), get_arguments(manifest)
        doing = f"reading back version {version.id} of {version.asset}"
        found = []
        for row in python_rows(sample):
            key = key_of({name: row[name] for name in manifest.key.columns})
            raw = self._link.call(doing, key, name, key, *more)
            got = None if is_missing(raw) else decode((key, raw) if manifest.value.collection else raw)
            expected = {field.name: row[field.name] for field in manifest.fields}
            if got is None or not same(comparable(manifest, got), comparable(manifest, expected)):
                found.append(difference(key, got, expected))
        return found

    def publish(self, version: Version) -> None:
        doing = f"publishing version {version.id} of {version.asset}"
        manifest = self._stored_manifest(version, doing)
        if manifest is None:
            raise TargetError(
                f"{doing}: {self._endpoint} holds nothing of this version",
                hint="the store was flushed, or restarted without its data: run the spec again to load a new version",
            )
        pointer = pointer_key(version.asset)
        for _ in range(_PUBLISH_ATTEMPTS):
            _, raw = self._link.transaction(doing, pointer, [("WATCH", pointer), ("GET", pointer)])
            now = None if raw is None else parse_manifest(raw, self._where(pointer))
            if now is not None and now.version == version.id:
                self._link.transaction(doing, pointer, [("UNWATCH",), ("PUBLISH", pointer, version.id)])
                return
            published = manifest.published(self._clock(), None if now is None else now.version)
            if self._swap(doing, pointer, published):
                return
        raise TransientError(f"{doing} in {self._endpoint}: somebody else moves the pointer {pointer} all the time")

    def current(self, asset: str) -> str | None:
        pointer = pointer_key(asset)
        raw = self._link.call(f"looking up the current version of {asset}", pointer, "GET", pointer)
        return None if raw is None else parse_manifest(raw, self._where(pointer)).version

    def eraser(self, version: Version) -> BatchTask | None:
        """Call it to run it over all keys; `drop` on this same target then needs no sweep.

        None when the version's key was made of other columns than this spec's: then `drop` sweeps.
        """
        doing = f"erasing version {version.id} of {version.asset}"
        self._refuse_current(version, doing, "publish another one first")
        manifest = self._stored_manifest(version, doing) or Manifest.of(version, self.redis)
        if manifest.key.columns != self.key_columns:
            return None
        from millrace.connectors.redis.tasks import KeyTask

        self._erased_in_tasks.add(version.id)
        return KeyTask(self._endpoint, manifest, "UNLINK", doing)

    def drop(self, version: Version) -> None:
        """Forget the version; unless an eraser of this target has run over its keys, they are searched for: `sweep`."""
        doing = f"dropping version {version.id} of {version.asset}"
        self._refuse_current(version, doing, "publish another one first")
        if self._stored_manifest(version, doing) is None:
            return
        if version.id not in self._erased_in_tasks:
            self.sweep(version)
        self._link.call(doing, versions_key(version.asset), "HDEL", versions_key(version.asset), version.id)

    def forget(self, version: Version) -> None:
        doing = f"forgetting version {version.id} of {version.asset}"
        self._refuse_current(version, doing, "publish another one first")
        self._link.call(doing, versions_key(version.asset), "HDEL", versions_key(version.asset), version.id)

    def sweep(self, version: Version) -> int:
        """Remove every key of a version when the rows that say which are gone; the number of keys removed.

        Goes through all keys of the store with SCAN, in steps of about a thousand, and pauses after each for as long
        as it took: half of one core of the store at most. Takes a second or two for each million keys of the store.
        """
        doing = f"sweeping version {version.id} of {version.asset}"
        self._refuse_current(version, doing, "publish another one first")
        pattern = _escaped(f"{version.asset}:{version.rows_id}:") + "*"
        removed = 0
        for address in self._link.addresses(doing):
            for keys in self._scan(doing, address, pattern):
                removed += self._unlink(doing, address, keys)
        return removed

    def unpublish(self, asset: str) -> None:
        doing = f"unpublishing {asset}"
        pointer = pointer_key(asset)
        self._link.transaction(doing, pointer, [("MULTI",), ("DEL", pointer), ("PUBLISH", pointer, ""), ("EXEC",)])
        self._link.call(doing, versions_key(asset), "DEL", versions_key(asset))

    def _connect(self) -> Store:
        return Store(endpoint_of(self.connection))

    @property
    def _endpoint(self) -> Endpoint:
        return self._link.endpoint

    def _where(self, key: str) -> str:
        return f"the key {key} in {self._endpoint}"

    def _stored_manifest(self, version: Version, doing: str) -> Manifest | None:
        key = versions_key(version.asset)
        raw = self._link.call(doing, key, "HGET", key, version.id)
        return None if raw is None else parse_manifest(raw, f"field {version.id} of {self._where(key)}")

    def _check_line(self, manifest: Manifest, doing: str) -> None:
        """The rows that a merge goes on changing are there, and written as this version writes them."""
        key = versions_key(manifest.asset)
        stored = self._link.call(doing, key, "HGETALL", key)
        line = [found for raw in stored[1::2] if (found := parse_manifest(raw, self._where(key))).rows == manifest.rows]
        if not line:
            raise TargetError(
                f"{doing}: {self._endpoint} holds nothing of the rows that it changes",
                hint="the store was flushed, or restarted without its data: load everything anew, with --full-refresh",
            )
        if not all(manifest.reads_as(other) for other in line):
            raise TargetError(
                f"{doing}: its rows would be written in another way than those that are there",
                hint="set key, value and compression back, or load everything anew, with --full-refresh",
            )

    def _refuse_current(self, version: Version, doing: str, hint: str) -> None:
        if self.current(version.asset) == version.id:
            raise TargetError(f"{doing} in {self._endpoint}: it is the version that readers see", hint=hint)

    def _swap(self, doing: str, pointer: str, manifest: Manifest) -> bool:
        """Whether the pointer moved; False when somebody else has moved it since it was watched."""
        commands = [("MULTI",), ("SET", pointer, manifest.to_json()), ("PUBLISH", pointer, manifest.version), ("EXEC",)]
        return self._link.transaction(doing, pointer, commands)[-1] is not None

    def _unlink(self, doing: str, address: Address, keys: Sequence[bytes]) -> int:
        if not keys:
            return 0
        if self._endpoint.cluster:  # where one command can't have keys of several slots
            return sum(self._link.all_at(doing, address, [("UNLINK", key) for key in keys]))
        return int(self._link.at(doing, address, "UNLINK", *keys))

    def _scan(self, doing: str, address: Address, pattern: str) -> Iterator[list[bytes]]:
        cursor = b"0"
        while True:
            started = time.perf_counter()
            cursor, keys = self._link.at(doing, address, "SCAN", cursor, "MATCH", pattern, "COUNT", _SCAN_COUNT)
            yield keys
            if cursor == b"0":
                return
            time.sleep(time.perf_counter() - started)


def _escaped(text: str) -> str:
    """The text as a glob pattern that matches only itself."""
    return "".join(f"\\{character}" if character in "*?[]^-\\" else character for character in text)
