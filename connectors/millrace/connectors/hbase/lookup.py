"""Lookups by key and by range, for serving: always of one whole version, the one that the pointer says."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from millrace.connectors.following import MOST_FLIPS, FollowingReader
from millrace.connectors.hbase import service
from millrace.connectors.hbase.client import Client
from millrace.connectors.hbase.endpoint import Refusal, endpoint_of, store_error
from millrace.connectors.hbase.layout import CURRENT, Manifest, parse_manifest, pointer_table
from millrace.connectors.hbase.service import Cells, Scan
from millrace.connectors.hbase.values import Key, Row, as_parts, key_maker, prefix_maker, row_decoder
from millrace.errors import NotAvailable
from millrace.spec.connection import Connection

T = TypeVar("T")

DEFAULT_TIMEOUT_S = 5.0
DEFAULT_REFRESH_S = 1.0
_DOING = "a lookup"


@dataclass(frozen=True)
class _Current:
    """All that a lookup needs of the current version. Replaced as a whole, never changed."""

    manifest: Manifest
    key: Callable[[Key], bytes]
    prefix: Callable[[Sequence[Any]], bytes]
    decode: Callable[[Mapping[bytes, bytes]], Row]

    @property
    def version(self) -> str:
        return self.manifest.version

    @classmethod
    def of(cls, manifest: Manifest) -> _Current:
        return cls(manifest, key_maker(manifest), prefix_maker(manifest), row_decoder(manifest))


class HBaseReader(FollowingReader[_Current]):
    """Reads the rows of one asset. Open and use it in one event loop; any number of calls at a time.

    A call sees one version from its beginning to its end. The pointer is read every `refresh_s`, and at once when the
    table of a version is gone. Raises NotFound as long as the asset has no published version, TransientError when the
    store doesn't answer within `timeout_s`, ValueError for a key that doesn't fit the key's columns, NotAvailable for
    a range over rows that don't lie in the order of their keys, `UnreadableValue` for bytes that are not what the
    manifest says.
    """

    def __init__(
        self,
        connection: Connection,
        asset: str,
        *,
        client: Client | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        refresh_s: float = DEFAULT_REFRESH_S,
    ) -> None:
        super().__init__(connection, asset, refresh_s)
        self._timeout_s = timeout_s
        self._endpoint = endpoint_of(connection)
        self._shared = client
        self._client = client

    async def open(self) -> None:
        """Connect and read the pointer; no error when nothing is published yet.

        Raises TransientError when the store can't be reached; nothing stays open then.
        """
        try:
            if self._client is None:
                self._client = Client(self._endpoint, self._timeout_s)
            await self._read_pointer()
        except BaseException:
            await self.close()
            raise
        self._follow()

    async def close(self) -> None:
        await self._stop_following()
        if self._client is not None and self._shared is None:
            await self._client.close()
            self._client = None

    @property
    def manifest(self) -> Manifest:
        """Of the version that lookups see now. Raises NotFound when there is none."""
        return self._published().manifest

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The columns of a key, in the order of its parts. Raises NotFound when there is no version."""
        return tuple(self.manifest.row_key.template.columns)

    async def get(self, key: Key) -> Row | None:
        """The row under a key, None when the current version has none."""

        async def read(current: _Current) -> Row | None:
            cells = await self._opened().row(current.manifest.table, current.key(key))
            return None if cells is None else current.decode(cells)

        return await self._of_one_version(read)

    async def multi_get(self, keys: Sequence[Key]) -> list[Row | None]:
        """The rows under many keys, in their order, all of one version; None for a key that it doesn't have."""

        async def read(current: _Current) -> list[Row | None]:
            wanted = [current.key(key) for key in keys]
            found = await self._opened().rows(current.manifest.table, list(dict.fromkeys(wanted)))
            return [None if (cells := found.get(key)) is None else current.decode(cells) for key in wanted]

        return await self._of_one_version(read)

    async def floor(self, key: Key) -> Row | None:
        """The row with the greatest key that is not above this one, all of its parts but the last equal."""

        async def read(current: _Current) -> Row | None:
            manifest = current.manifest
            if not manifest.row_key.floors(manifest.types):
                raise self._unordered(manifest, "ranges", "use `key_form: ordered`, or a key that ends with a string")
            parts = as_parts(key)
            body = manifest.row_key.body(manifest.types, parts)
            values = (
                [parts[name] for name in manifest.row_key.template.columns] if isinstance(parts, Mapping) else parts
            )
            prefix = current.prefix(list(values)[:-1])
            rows = await asyncio.gather(
                *(self._floor(manifest.table, salt, body, prefix) for salt in manifest.row_key.salts())
            )
            best = max((row for row in rows if row is not None), key=lambda row: row[0], default=None)
            return None if best is None else current.decode(best[1])

        return await self._of_one_version(read)

    async def scan(self, prefix: Sequence[Any], limit: int, after: Key = None) -> list[Row]:
        """At most `limit` rows by their keys, whose first key columns equal `prefix`, beyond the key `after`."""

        async def read(current: _Current) -> list[Row]:
            manifest = current.manifest
            if not manifest.row_key.sorted:
                raise self._unordered(manifest, "prefixes", "use `key_form: plain` or `ordered`")
            start = stop = current.prefix(prefix)
            if after is not None:
                start = max(start, manifest.row_key.body(manifest.types, as_parts(after)) + b"\0")
            scans = [
                self._opened().scan(manifest.table, _between(salt + start, _next(salt + stop), limit), limit)
                for salt in manifest.row_key.salts()
            ]
            salted = 0 if manifest.row_key.salt_buckets is None else 1
            found = heapq.merge(*await asyncio.gather(*scans), key=lambda row: row[0][salted:])
            return [current.decode(cells) for _, (_, cells) in zip(range(limit), found, strict=False)]

        return await self._of_one_version(read) if limit > 0 else []

    async def _floor(self, table: str, salt: bytes, body: bytes, prefix: bytes) -> tuple[bytes, Cells] | None:
        """The last row up to a key, as its key without the salt and its cells; None when it has another prefix."""
        rows = await self._opened().scan(table, Scan(salt + body, reverse=True, caching=1), 1)
        if not rows or not rows[0][0].startswith(salt + prefix):
            return None
        return rows[0][0][len(salt) :], rows[0][1]

    async def _of_one_version(self, read: Callable[[_Current], Awaitable[T]]) -> T:
        """Read from the current version; when its table is gone, from the one that is current by now."""
        current = self._published()
        for _ in range(MOST_FLIPS):
            try:
                return await read(current)
            except Refusal as refusal:
                problem = refusal
            latest = await self._read_pointer()  # HBase has many words for a table that is gone
            if latest is None or latest.manifest.table == current.manifest.table:
                raise store_error(problem, f"a lookup of {self.asset}", self._endpoint) from problem
            current = latest
        raise self._flapping()

    async def _read_pointer(self) -> _Current | None:
        table = pointer_table(self._endpoint.namespace)
        try:
            rows = await self._opened().ask(service.get_rows(table, [self.asset.encode()]))
        except Refusal as refusal:
            if not refusal.table_is_gone:
                raise store_error(refusal, "reading the pointer", self._endpoint) from refusal
            rows = []
        raw = rows[0][1].get(CURRENT) if rows else None
        if raw is None:
            self._current = None
            return None
        manifest = parse_manifest(raw, f"the pointer of {self.asset} in table {table} in {self._endpoint}")
        if self._current is None or self._current.manifest != manifest:
            self._current = _Current.of(manifest)
        return self._current

    def _opened(self) -> Client:
        if self._client is None:
            raise RuntimeError("HBaseReader.open() comes first")
        return self._client

    def _unordered(self, manifest: Manifest, what: str, advice: str) -> NotAvailable:
        row_key = manifest.row_key
        return NotAvailable(
            f"rows of {self.asset} in {self._connection} can't be looked up by {what}: with the row key"
            f" '{row_key.template.text}' in its form '{row_key.form}' they don't lie in the order of their values",
            hint=f"{advice}, and run its spec again",
        )


def _between(start: bytes, stop: bytes, limit: int) -> Scan:
    return Scan(start, stop, caching=min(limit, 1000))


def _next(prefix: bytes) -> bytes:
    """The first key behind all that start with `prefix`; empty when there is none."""
    bare = prefix.rstrip(b"\xff")
    return bare[:-1] + bytes([bare[-1] + 1]) if bare else b""
