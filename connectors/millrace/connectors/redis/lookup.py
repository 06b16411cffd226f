"""Lookups by key, for serving: always of one whole version, the one that the pointer says."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import hiredis

from millrace.connectors.following import MOST_FLIPS, FollowingReader
from millrace.connectors.readers import Form
from millrace.connectors.redis.client import Client, command
from millrace.connectors.redis.endpoint import endpoint_of
from millrace.connectors.redis.layout import Manifest, parse_manifest, pointer_key
from millrace.connectors.redis.values import (
    Key,
    Row,
    encoding,
    get_arguments,
    get_command,
    is_missing,
    key_maker,
    keys_maker,
    number_keys_maker,
    opened_decoder,
    opener,
    text_key_maker,
    text_keys_maker,
)
from millrace.spec.connection import Connection

DEFAULT_TIMEOUT_S = 2.0
DEFAULT_REFRESH_S = 5.0


@dataclass(frozen=True, eq=False, kw_only=True)
class _Current(Form):
    """All that a lookup needs of the current version. Replaced as a whole, never changed."""

    manifest: Manifest
    get: bytes
    more: tuple[bytes, ...]
    keyed: bool  # whether a row is decoded with its key
    open: Callable[[bytes], bytes] | None
    make_keys: Callable[[Sequence[Key]], list[bytes]]
    make_text_keys: Callable[[Sequence[bytes]], list[bytes]]
    opening: bytes  # of the command that reads a row, up to the length of its key

    def keys(self, keys: Sequence[Key]) -> list[bytes]:
        return self.make_keys(keys)

    def text_keys(self, texts: Sequence[bytes]) -> list[bytes]:
        return self.make_text_keys(texts)

    def asking(self, stored_key: bytes) -> bytes:
        """The command that reads one row."""
        if self.more:
            return command(self.get, stored_key, *self.more)
        return b"%b%d\r\n%b\r\n" % (self.opening, len(stored_key), stored_key)

    @classmethod
    def of(cls, manifest: Manifest) -> _Current:
        return cls(
            version=manifest.version,
            fields=manifest.fields,
            key_columns=manifest.key.columns,
            encoding=encoding(manifest),
            key=key_maker(manifest),
            text_key=text_key_maker(manifest),
            decode=opened_decoder(manifest),
            number_keys=number_keys_maker(manifest),
            manifest=manifest,
            get=get_command(manifest),
            more=get_arguments(manifest),
            keyed=manifest.value.collection,
            open=opener(manifest),
            make_keys=keys_maker(manifest),
            make_text_keys=text_keys_maker(manifest),
            opening=b"*2\r\n$%d\r\n%b\r\n$" % (len(get_command(manifest)), get_command(manifest)),
        )


class RedisReader(FollowingReader[_Current]):
    """Reads the rows of one asset. Open and use it in one event loop; any number of calls at a time.

    A call sees one version, old or new, from its beginning to its end, whatever is published meanwhile. A move of the
    pointer is heard of at once, and looked up every `refresh_s` in case that is missed. Raises NotFound as long as the
    asset has no published version, TransientError when the store doesn't answer within `timeout_s`, ValueError for a
    key that doesn't fit the key's columns, `UnreadableValue` for bytes that are not what the manifest says.

    `moves` counts the changes of `form`: who has kept rows of one form sees by one comparison that it is still the one.
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
        self._shared = client
        self._client = client
        self._pointer = pointer_key(asset).encode()
        self.moves = 0
        self._recheck: asyncio.Task[_Current | None] | None = None

    async def open(self) -> None:
        """Connect and read the pointer; no error when nothing is published yet.

        Raises TransientError when the store can't be reached, TargetError when it refuses us; nothing stays open then.
        """
        try:
            if self._client is None:
                self._client = Client(await asyncio.to_thread(endpoint_of, self._connection), self._timeout_s)
                await self._client.open()
            await self._read_pointer()
        except BaseException:
            await self.close()
            raise
        self._client.listen(pointer_key(self.asset), self._moved.set)
        self._follow()

    async def close(self) -> None:
        await self._stop_following()
        if self._recheck is not None:
            self._recheck.cancel()
            await asyncio.gather(self._recheck, return_exceptions=True)
        if self._client is not None:
            self._client.unlisten(pointer_key(self.asset))
            if self._shared is None:
                await self._client.close()
                self._client = None

    @property
    def manifest(self) -> Manifest:
        """Of the version that lookups see now. Raises NotFound when there is none."""
        return self._published().manifest

    @property
    def form(self) -> Form:
        """How the rows of the version that lookups see now are stored. Raises NotFound when there is none."""
        return self._current or self._published()

    async def get(self, key: Key) -> Row | None:
        """The row under a key, None when the current version has none."""
        current = self._published()
        form, stored = await self.fetch(current, key, current.key(key))
        return None if stored is None else dict(form.decode(stored))

    async def multi_get(self, keys: Sequence[Key]) -> list[Row | None]:
        """The rows under many keys, in their order, all of one version; None for a key that it doesn't have."""
        form, found = await self.fetch_all(self._published(), keys)
        return [None if stored is None else dict(form.decode(stored)) for stored in found]

    async def fetch(self, form: Form, key: Key, stored_key: bytes) -> tuple[Form, Any]:
        """The row under a key as it is stored, its compression undone; and its form, a later one if there was a flip.

        `stored_key` is `form.key(key)`, which the caller has made already.
        """
        assert isinstance(form, _Current)
        current, client = form, self._opened()
        for _ in range(MOST_FLIPS):
            raw = await client.ask(stored_key, current.asking(stored_key))
            if raw is not None and raw != []:
                if type(raw) is hiredis.ReplyError:
                    raise client.refusal(raw)
                if current.keyed:
                    return current, (stored_key, raw)
                return current, raw if current.open is None else current.open(raw)
            latest = await self._latest()
            if latest.version == current.version:
                return current, None
            current, stored_key = latest, latest.key(key)
        raise self._flapping()

    async def fetch_all(
        self, form: Form, keys: Sequence[Key], stored_keys: Sequence[bytes] = ()
    ) -> tuple[Form, list[Any]]:
        """The rows under many keys as they are stored, in their order, all of one version."""
        assert isinstance(form, _Current)
        current, client = form, self._opened()
        for _ in range(MOST_FLIPS):
            stored_keys = stored_keys or current.make_keys(keys)
            raws = await client.fetch_all(current.get, stored_keys, current.more) if keys else []
            if not all(raws) and (None in raws or (current.encoding == "row" and [] in raws)):
                latest = await self._latest()
                if latest.version != current.version:
                    current, stored_keys = latest, ()
                    continue
                raws = [None if is_missing(raw) else raw for raw in raws]
            if current.keyed:
                pairs = zip(stored_keys, raws, strict=True)
                return current, [None if raw is None else (key, raw) for key, raw in pairs]
            if current.open is not None:
                raws = [None if raw is None else current.open(raw) for raw in raws]
            return current, raws
        raise self._flapping()

    async def exists(self, key: Key) -> bool:
        """Whether the current version has a row under a key."""
        current, client = self._published(), self._opened()
        for _ in range(MOST_FLIPS):
            whole = current.key(key)
            if await client.fetch(whole, command(b"EXISTS", whole)):
                return True
            latest = await self._latest()
            if latest.manifest.version == current.manifest.version:
                return False
            current = latest
        raise self._flapping()

    async def all_rows(self, form: Form) -> AsyncIterator[Sequence[Any]]:
        """See `WholeReader`. Walks over all keys of the servers: for tables that are built once for each version."""
        assert isinstance(form, _Current)
        pattern = re.sub(rb"([\\*?\[\]^-])", rb"\\\1", form.manifest.prefix.encode()) + b"*"
        async for keys in self._opened().scan(pattern):
            raws = await self._opened().fetch_all(form.get, keys)
            found = [raw for raw in raws if not is_missing(raw)]
            yield found if form.open is None else [*map(form.open, found)]

    def _opened(self) -> Client:
        if self._client is None:
            raise RuntimeError("RedisReader.open() comes first")
        return self._client

    async def _latest(self) -> _Current:
        """The version that the pointer says now; asked once for all lookups that missed in the same tick.

        A key may be missing because its version was retired since the lookup began.
        """
        if self._recheck is None:
            self._recheck = asyncio.get_running_loop().create_task(self._read_pointer())
            self._recheck.add_done_callback(_retrieve)
        await asyncio.shield(self._recheck)
        return self._published()

    async def _read_pointer(self) -> _Current | None:
        self._recheck = None  # lookups that miss from here on ask again: this answer may be older than theirs
        raw = await self._opened().fetch(self._pointer, command(b"GET", self._pointer))
        if raw is None:
            self._current, self.moves = None, self.moves + 1
            return None
        manifest = parse_manifest(raw, f"the key {pointer_key(self.asset)} in {self._connection}")
        if self._current is None or self._current.manifest != manifest:
            self._current, self.moves = _Current.of(manifest), self.moves + 1
        return self._current


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Its error is for those who wait for it; when all of them have gone, it is nobody's."""
    if not task.cancelled():
        task.exception()
