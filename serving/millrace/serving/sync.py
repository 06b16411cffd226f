"""The thin synchronous face of the client: the same calls, run on an event loop in a thread of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from types import TracebackType
from typing import Any, TypeVar

from millrace.serving.client import AsyncClient, AsyncKv, Row
from millrace.serving.kv.client import Page
from millrace.serving.plans import KvPlan
from millrace.serving.sql.sync_client import Sql, Union
from millrace.spec.settings import Settings

T = TypeVar("T")


class Kv:
    """One KV API; see `AsyncKv`. Usable from several threads."""

    def __init__(self, api: AsyncKv, client: Client) -> None:
        self._api = api
        self._client = client

    @property
    def plan(self) -> KvPlan:
        """See `AsyncKv.plan`."""
        return self._api.plan

    def get(self, first: Any, /, *more: Any) -> Row | None:
        """See `AsyncKv.get`."""
        return self._client.run(self._api.get(first, *more))

    def multi_get(self, keys: Sequence[Any]) -> Sequence[Row | None]:
        """See `AsyncKv.multi_get`."""
        return self._client.run(self._api.multi_get(keys))

    def exists(self, *key: Any) -> bool:
        """See `AsyncKv.exists`."""
        return self._client.run(self._api.exists(*key))

    def scan(self, *prefix: Any, limit: int = 0, after: str = "") -> Page:
        """See `AsyncKv.scan`."""
        return self._client.run(self._api.scan(*prefix, limit=limit, after=after))

    @property
    def version(self) -> str:
        """See `AsyncKv.version`."""
        return self._api.version


class Client:
    """Opens APIs by name; see `AsyncClient`. Use as a context manager, or call `close`."""

    def __init__(
        self,
        where: Settings | str | None = None,
        *,
        token: str = "",
        timeout_s: float = 10.0,
        ca: str = "",
        certificate: tuple[str, str] | None = None,
    ) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="millrace-serving", daemon=True)
        self._thread.start()
        self._client = AsyncClient(where, token=token, timeout_s=timeout_s, ca=ca, certificate=certificate)

    def kv(self, name: str) -> Kv:
        """See `AsyncClient.kv`."""
        return Kv(self.run(self._client.kv(name)), self)

    def sql(self, name: str) -> Sql:
        """See `AsyncClient.sql`."""
        return Sql(self.run(self._client.sql(name)), self._client.apis, name, self)

    def union(self, name: str) -> Union:
        """See `AsyncClient.union`."""
        return Union(self.run(self._client.union(name)), self)

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        """Run one call on the client's loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(call, self._loop).result()

    def close(self) -> None:
        """Close every reader and end the loop. A second call does nothing."""
        if self._loop.is_closed():
            return
        self.run(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
