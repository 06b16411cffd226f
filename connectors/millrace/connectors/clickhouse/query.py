"""SQL over a ClickHouse, for serving: asynchronous, on one connection pool."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from millrace.connectors.clickhouse.endpoint import Endpoint, endpoint_of, lost, store_error
from millrace.connectors.clickhouse.link import READ_SETTINGS, client_options, own_words
from millrace.spec.connection import Connection

if TYPE_CHECKING:
    import pyarrow as pa
    from clickhouse_connect.driver.asyncclient import AsyncClient


@dataclass(frozen=True)
class Result:
    """A query's answer: the names and ClickHouse types of its columns, and its rows as Python values."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


class ClickHouseReader:
    """Runs queries. Open and use it in one event loop; any number of calls at a time.

    A query sees one version of each view that it names: the one that was current when ClickHouse looked it up. One that
    names a view twice may see two during a publish, since each use is looked up: name the version's table then.
    Raises TransientError when the server can't be reached, TargetError for what it refuses.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._endpoint: Endpoint | None = None
        self._client: AsyncClient | None = None

    async def open(self) -> None:
        """Connect; an embedded server is started when it isn't running."""
        import clickhouse_connect

        endpoint = self._endpoint = await asyncio.to_thread(endpoint_of, self._connection)
        async with self._errors("connecting"):
            self._client = await clickhouse_connect.get_async_client(**client_options(endpoint))

    async def query(self, sql: str, params: Mapping[str, Any] | None = None) -> Result:
        """Run a query and give all of its rows; `params` fill its `{name:Type}`, and are never put into its text."""
        async with self._errors("querying"):
            found = await self._opened().query(sql, parameters=dict(params or {}))
            types = tuple(type_.name for type_ in found.column_types)
            return Result(tuple(found.column_names), types, tuple(map(tuple, found.result_rows)))

    async def arrow(self, sql: str, params: Mapping[str, Any] | None = None) -> pa.Table:
        """Run a query and give all of its rows as Arrow."""
        async with self._errors("querying"):
            return await self._opened().query_arrow(sql, parameters=dict(params or {}), settings=dict(READ_SETTINGS))

    async def close(self) -> None:
        """Free the connections. A second call does nothing."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _opened(self) -> AsyncClient:
        assert self._client is not None, "open() comes first"
        return self._client

    @contextlib.asynccontextmanager
    async def _errors(self, doing: str) -> AsyncIterator[None]:
        from clickhouse_connect.driver.exceptions import Error

        assert self._endpoint is not None
        try:
            yield
        except Error as error:
            code = getattr(error, "code", None)
            if code is None:
                raise lost(error, doing, self._endpoint) from error
            raise store_error(code, own_words(error), doing, self._endpoint) from error
