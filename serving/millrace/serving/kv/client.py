"""A KV API as the library shows it, and the one that reads the store itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from millrace.connectors.readers import Form
from millrace.serving.caches import Entry
from millrace.serving.call import Api, Call, Operation, Origin
from millrace.serving.kv.api import KvApi
from millrace.serving.kv.rows import StoredRow, StoredRows
from millrace.serving.plans import KvPlan

Row = Mapping[str, Any]
_PLAIN = (int, str)


class Degraded(dict[str, Any]):
    """A row that is less than what was asked for: `origin` says `stale`, or `default`. Equal to a plain dict."""

    def __init__(self, row: Row, origin: Origin) -> None:
        super().__init__(row)
        self.origin = origin


def told(row: Row | None, origin: Origin) -> Row | None:
    """The row as callers get it."""
    return Degraded(row, origin) if row is not None and origin.mark else row


@dataclass(frozen=True)
class Page:
    """Rows in the order of their keys; `next` is the `after` of the page behind this one, "" on the last."""

    rows: Sequence[Row]
    next: str = ""


class AsyncKv(ABC):
    """One KV API. Answers come from the version that is current when a call begins, or from a later one."""

    @abstractmethod
    async def get(self, first: Any, /, *more: Any) -> Row | None:
        """The row with this key as column → value, or None: the values of the key's columns, in their order.

        Raises TransientError when the store can't be reached, and ValueError for a key of the wrong shape or type.
        """

    @abstractmethod
    async def multi_get(self, keys: Sequence[Any]) -> Sequence[Row | None]:
        """One answer for each key, in order, all from one version. A key is a value, or a tuple for a composite key."""

    @abstractmethod
    async def exists(self, *key: Any) -> bool:
        """Whether there is a row with this key."""

    @abstractmethod
    async def scan(self, *prefix: Any, limit: int = 0, after: str = "") -> Page:
        """A page of the rows whose keys begin with these values: of the key's first columns, all rows without any.

        `limit`: rows of a page, 100 unless given. Raises Refused where the API or its store doesn't do that.
        """

    @property
    @abstractmethod
    def version(self) -> str:
        """The id of the version that answers now; through a server: that answered last. Raises NotFound without one."""

    @property
    @abstractmethod
    def plan(self) -> KvPlan:
        """Where the rows are. Raises NotAvailable through a server, which does not tell."""


class LocalKv(AsyncKv):
    """Reads the store of a KV API in this process, through the API's cache.

    Entries of the cache stand here too, by the keys that callers give, so that a hit makes no stored key: those of one
    form, of which `_moves` says whether it is still the one (see `RedisReader.moves`). What the cache has thrown out or
    replaced is past its `soft_until`. Keys that equal each other across types (1, 1.0, True) are told apart.
    """

    def __init__(self, api: KvApi) -> None:
        self._api = api
        self._rows: Any = api.rows
        self._entries: dict[Any, Entry] = {}
        self._moves = 0
        self._most_entries = api.cache.local.size if api.cache is not None and hasattr(api.rows, "moves") else 0

    async def get(self, first: Any, /, *more: Any) -> Row | None:
        try:
            entry: Entry | None = self._entries[first]
        except (KeyError, TypeError):  # nothing is kept; a key that is a list
            entry = None
        if (
            entry is not None
            and monotonic() < entry.soft_until
            and self._moves == self._rows.moves
            and first.__class__ is entry.key_type
            and not more
        ):
            entry.used = True
            row: dict[str, Any] = entry.row.copy()
            return row
        return await self._get((first, *more))

    async def _get(self, key: tuple[Any, ...]) -> Row | None:
        api = self._api
        wanted = key[0] if len(key) == 1 else key
        form = api.form
        stored_key = form.key(wanted)
        entry = None if api.cache is None else api.cache.hit(stored_key)
        if entry is None:
            found, origin = await api.get(form, wanted, stored_key, gathered=True)
            return None if found.stored is None else told(found.form.decode(found.stored), origin)
        if entry.value is None:
            return None
        if entry.row is None:
            entry.row = dict(form.decode(entry.value.stored))
        if self._most_entries and len(key) == 1 and type(wanted) in _PLAIN:
            self._keep(key, entry)
        return dict(entry.row)

    def _keep(self, key: tuple[Any, ...], entry: Entry) -> None:
        if self._moves != self._rows.moves or len(self._entries) >= self._most_entries:
            self._entries.clear()
        self._moves = self._rows.moves
        entry.key_type = type(key[0])
        self._entries[key[0]] = entry

    async def multi_get(self, keys: Sequence[Any]) -> Sequence[Row | None]:
        found, origin = await self._api.multi_get(keys)
        return [told(row, origin) for row in found.rows()] if origin.mark else found.rows()

    async def exists(self, *key: Any) -> bool:
        call = Call(Operation.EXISTS, key[0] if len(key) == 1 else key)
        return bool((await self._api.call(call)).body)

    async def scan(self, *prefix: Any, limit: int = 0, after: str = "") -> Page:
        return await _scanned(self._api, prefix, limit, after)

    @property
    def version(self) -> str:
        return self._api.form.version

    @property
    def plan(self) -> KvPlan:
        return self._api.plan


class UncachedKv(LocalKv):
    """The same for an API that keeps nothing."""

    async def get(self, first: Any, /, *more: Any) -> Row | None:
        wanted = (first, *more) if more else first
        form: Form = self._rows.form
        if self._api.falls_back:
            return await self._get((first, *more))
        form, stored = await self._api.fetch(form, wanted, form.key(wanted))
        return None if stored is None else form.decode(stored)


class CalledKv(AsyncKv):
    """A KV API in this process that is only called, such as one by interval."""

    def __init__(self, api: Api, plan: KvPlan) -> None:
        self._api = api
        self._plan = plan
        self._version = ""

    async def get(self, first: Any, /, *more: Any) -> Row | None:
        answer = await self._api.call(Call(Operation.GET, (first, *more) if more else first))
        self._version = answer.version
        found: StoredRow = answer.body
        return found.row()

    async def multi_get(self, keys: Sequence[Any]) -> Sequence[Row | None]:
        answer = await self._api.call(Call(Operation.MULTI_GET, keys))
        self._version = answer.version
        found: StoredRows = answer.body
        return found.rows()

    async def exists(self, *key: Any) -> bool:
        return await self.get(*key) is not None

    async def scan(self, *prefix: Any, limit: int = 0, after: str = "") -> Page:
        return await _scanned(self._api, prefix, limit, after)

    @property
    def version(self) -> str:
        return self._version

    @property
    def plan(self) -> KvPlan:
        return self._plan


async def _scanned(api: Api, prefix: Sequence[Any], limit: int, after: str) -> Page:
    arguments = {"prefix": list(prefix), "limit": limit or None, "after": after or None}
    found: StoredRows = (await api.call(Call(Operation.SCAN, arguments))).body
    return Page([row for row in found.rows() if row is not None], found.cursor or "")
