"""The library's asynchronous client: one for a process, with one reader for each API that was asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

from millrace.catalog import Catalog
from millrace.connectors.base import KeyReader
from millrace.serving.local import LocalApis
from millrace.serving.plans import KvPlan, kv_plan
from millrace.serving.sql.client import AsyncSql, AsyncUnion
from millrace.spec.settings import Settings

Row = Mapping[str, Any]


class AsyncKv:
    """One KV API. Answers come from the version that is current when a call begins, or from a later one."""

    def __init__(self, plan: KvPlan, reader: KeyReader) -> None:
        self.plan = plan
        self._reader = reader

    async def get(self, *key: Any) -> Row | None:
        """The row with this key as column → value, or None. `key`: the values of the key's columns, in their order.

        Raises TransientError when the store can't be reached, and ValueError for a key of the wrong shape or type.
        """
        return await self._reader.get(key[0] if len(key) == 1 else key)

    async def multi_get(self, keys: Sequence[Any]) -> Sequence[Row | None]:
        """One answer for each key, in order, all from one version. A key is a value, or a tuple for a composite key."""
        return await self._reader.multi_get(keys)

    @property
    def version(self) -> str:
        """The id of the version that answers now. Raises NotFound when there is none."""
        return self._reader.version

    async def close(self) -> None:
        """Close the connections of this API."""
        await self._reader.close()


class AsyncClient:
    """Opens APIs by name. Use as an async context manager, from one event loop."""

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings.from_env()
        self._apis: dict[str, AsyncKv] = {}
        self._lock = asyncio.Lock()
        self._local = LocalApis(self._settings)

    async def kv(self, name: str) -> AsyncKv:
        """The KV API of that name. The catalog is asked once for each name; after that, no request touches it.

        Raises NotFound that lists the APIs there are.
        """
        async with self._lock:
            found = self._apis.get(name)
            if found is None:
                plan = await asyncio.to_thread(self._catalog, lambda catalog: kv_plan(catalog, name))
                reader = plan.reader(self._settings)
                await reader.open()
                found = self._apis[name] = AsyncKv(plan, reader)
            return found

    async def sql(self, name: str) -> AsyncSql:
        """The SQL API of that name: `(await client.sql("segments")).select("city").where(…).rows()`.

        Raises UnknownApi that names the nearest one.
        """
        await self._local.find(name, "sql")
        return AsyncSql(self._local, name)

    async def union(self, name: str) -> AsyncUnion:
        """The union API of that name: `await (await client.union("card"))(user_id=7)`. Raises UnknownApi."""
        await self._local.find(name, "union")
        return AsyncUnion(self._local, name)

    async def close(self) -> None:
        """Close every reader. A second call does nothing."""
        await self._local.close()
        apis, self._apis = self._apis, {}
        for api in apis.values():
            await api.close()

    @property
    def local(self) -> LocalApis:
        """Who answers the calls of SQL and union APIs."""
        return self._local

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _catalog(self, ask: Callable[[Catalog], KvPlan]) -> KvPlan:
        with Catalog.open(self._settings.catalog_url) as catalog:
            return ask(catalog)
