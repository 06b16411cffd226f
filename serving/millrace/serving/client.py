"""The library's asynchronous client: the same interface in this process and through a server.

    async with connect_async() as client:                                       # reads the stores itself
    async with connect_async("http://serving:8080", token="…") as client:       # asks a server
    async with connect_async("https://serving:8443", token="…", ca="ca.pem") as client:  # the same over TLS

In this process each API is opened when it is first asked for; the catalog is asked once for each name.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Protocol

from millrace.serving.call import Answer, Call
from millrace.serving.kv.client import AsyncKv, Row
from millrace.serving.sql.client import AsyncSql, AsyncUnion
from millrace.spec.settings import Settings

__all__ = ["Apis", "AsyncClient", "AsyncKv", "Row"]


class Apis(Protocol):
    """Where a client's APIs are: in this process, or behind a server."""

    async def kv(self, name: str) -> AsyncKv:
        """Raises NotFound that lists the APIs there are."""

    async def find(self, name: str, kind: str | None) -> object:
        """Raises UnknownApi where that is known before the first call."""

    async def call(self, api: str, kind: str | None, call: Call) -> Answer:
        """Raises what the API raises."""

    async def close(self) -> None: ...


class AsyncClient:
    """Opens APIs by name. Use as an async context manager, from one event loop."""

    def __init__(
        self,
        where: Settings | str | None = None,
        *,
        token: str = "",
        timeout_s: float = 10.0,
        ca: str = "",
        certificate: tuple[str, str] | None = None,
    ) -> None:
        self._where, self._token, self._timeout_s = where, token, timeout_s
        self._ca, self._certificate = ca, certificate
        self._opened: Apis | None = None
        self._kvs: dict[str, AsyncKv] = {}
        self._lock = asyncio.Lock()

    async def kv(self, name: str) -> AsyncKv:
        """The KV API of that name; in this process also an asset's. Raises NotFound that lists the APIs there are."""
        async with self._lock:
            found = self._kvs.get(name)
            if found is None:
                found = self._kvs[name] = await self.apis.kv(name)
            return found

    async def sql(self, name: str) -> AsyncSql:
        """The SQL API of that name: `(await client.sql("segments")).select("city").where(…).rows()`.

        Raises UnknownApi that names the nearest one; through a server the first query does.
        """
        await self.apis.find(name, "sql")
        return AsyncSql(self.apis, name)

    async def union(self, name: str) -> AsyncUnion:
        """The union API of that name: `await (await client.union("card"))(user_id=7)`. Raises UnknownApi as `sql`."""
        await self.apis.find(name, "union")
        return AsyncUnion(self.apis, name)

    async def close(self) -> None:
        """Close every connection. A second call does nothing."""
        opened, self._opened = self._opened, None
        self._kvs = {}
        if opened is not None:
            await opened.close()

    @property
    def apis(self) -> Apis:
        """Who answers the calls; connects when it is first called."""
        if self._opened is None:
            if isinstance(self._where, str):
                from millrace.serving.remote import RemoteApis
                from millrace.serving.tls import trust

                verified = trust(self._ca, self._certificate)
                self._opened = RemoteApis(self._where, self._token, self._timeout_s, verified)
            else:
                from millrace.serving.local import LocalApis

                self._opened = LocalApis(self._where or Settings.from_env())
        return self._opened

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
