"""A KV API as the library shows it, and the one that reads the store itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from millrace.serving.call import Api, Call, Operation
from millrace.serving.kv.api import KvApi
from millrace.serving.kv.rows import StoredRow, StoredRows
from millrace.serving.plans import KvPlan

Row = Mapping[str, Any]


class AsyncKv(ABC):
    """One KV API. Answers come from the version that is current when a call begins, or from a later one."""

    @abstractmethod
    async def get(self, *key: Any) -> Row | None:
        """The row with this key as column → value, or None. `key`: the values of the key's columns, in their order.

        Raises TransientError when the store can't be reached, and ValueError for a key of the wrong shape or type.
        """

    @abstractmethod
    async def multi_get(self, keys: Sequence[Any]) -> Sequence[Row | None]:
        """One answer for each key, in order, all from one version. A key is a value, or a tuple for a composite key."""

    @abstractmethod
    async def exists(self, *key: Any) -> bool:
        """Whether there is a row with this key."""

    @property
    @abstractmethod
    def version(self) -> str:
        """The id of the version that answers now; through a server: that answered last. Raises NotFound without one."""

    @property
    @abstractmethod
    def plan(self) -> KvPlan:
        """Where the rows are. Raises NotAvailable through a server, which does not tell."""


class LocalKv(AsyncKv):
    """Reads the store of a KV API in this process, through the API's cache."""

    def __init__(self, api: KvApi) -> None:
        self._api = api
        self._hit = api.cache.hit if api.cache is not None else None

    async def get(self, *key: Any) -> Row | None:
        wanted = key[0] if len(key) == 1 else key
        api = self._api
        form = api.form
        stored_key = form.key(wanted)
        if self._hit is not None and (entry := self._hit(stored_key)) is not None:
            kept = entry.value
            if kept is None:
                return None
            if entry.row is None:
                entry.row = dict(kept.form.decode(kept.stored))
            row: dict[str, Any] = entry.row.copy()
            return row
        found, _ = await api.get(form, wanted, stored_key)
        return None if found.stored is None else found.form.decode(found.stored)

    async def multi_get(self, keys: Sequence[Any]) -> Sequence[Row | None]:
        found, _ = await self._api.multi_get(keys)
        return found.rows()

    async def exists(self, *key: Any) -> bool:
        call = Call(Operation.EXISTS, key[0] if len(key) == 1 else key)
        return bool((await self._api.call(call)).body)

    @property
    def version(self) -> str:
        return self._api.form.version

    @property
    def plan(self) -> KvPlan:
        return self._api.plan


class CalledKv(AsyncKv):
    """A KV API in this process that is only called, such as one by interval."""

    def __init__(self, api: Api, plan: KvPlan) -> None:
        self._api = api
        self._plan = plan
        self._version = ""

    async def get(self, *key: Any) -> Row | None:
        answer = await self._api.call(Call(Operation.GET, key[0] if len(key) == 1 else key))
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

    @property
    def version(self) -> str:
        return self._version

    @property
    def plan(self) -> KvPlan:
        return self._plan
