"""SQL over a ClickHouse, for serving: asynchronous, on one connection pool."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from millrace.connectors.clickhouse.answers import arrow_batch, row_maker
from millrace.connectors.clickhouse.endpoint import Endpoint, endpoint_of, lost, store_error
from millrace.connectors.clickhouse.layout import Marker, Place
from millrace.connectors.clickhouse.link import READ_SETTINGS, client_options, own_words
from millrace.connectors.clickhouse.options import ClickHouseOptions
from millrace.connectors.readers import SqlTable
from millrace.errors import NotFound, TransientError
from millrace.spec.connection import Connection
from millrace.spec.types import DataType, Kind

if TYPE_CHECKING:
    import pyarrow as pa
    from clickhouse_connect.driver.asyncclient import AsyncClient

_UNKNOWN_TABLE, _TIMEOUT_EXCEEDED, _DROPPED = 60, 159, 218
_FRESH_S = 1.0
_GRACE_S = 1.0
_VIEW = "SELECT comment FROM system.tables WHERE database = {database:String} AND name = {name:String}"
#: Aggregates over no rows are null, as everywhere else; what the client doesn't wait for any more is ended.
_QUERY_SETTINGS: Mapping[str, Any] = {
    "readonly": 2,
    "cancel_http_readonly_queries_on_client_close": 1,
    "aggregate_functions_null_for_empty": 1,
    "decimal_check_overflow": 1,
    "final": 1,  # of merged rows the last ones, as the view shows them
}


@dataclass(frozen=True)
class Result:
    """A query's answer: the names and ClickHouse types of its columns, and its rows as Python values."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


class ClickHouseReader:
    """Runs queries. Open and use it in one event loop; any number of calls at a time.

    A query sees one version of each view that it names: the one that was current when ClickHouse looked it up. One that
    names a view twice may see two during a publish, since each use is looked up: name the version's table then, which
    `table` tells. Raises TransientError when the server can't be reached or takes too long, TargetError for what it
    refuses, NotFound for a table that is gone.
    """

    dialect: ClassVar[str] = "clickhouse"

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._endpoint: Endpoint | None = None
        self._client: AsyncClient | None = None
        self._current: dict[tuple[str, str], tuple[float, str]] = {}  # view → when it was read, the version
        self._reading: dict[tuple[str, str], asyncio.Task[str]] = {}

    async def open(self) -> None:
        """Connect; an embedded server is started when it isn't running."""
        import clickhouse_connect

        endpoint = self._endpoint = await asyncio.to_thread(endpoint_of, self._connection)
        async with self._errors("connecting"):
            self._client = await clickhouse_connect.get_async_client(**client_options(endpoint))

    async def table(self, asset: str, options: Mapping[str, Any], version: str | None = None) -> SqlTable:
        """The table of a version, by default of the one that the view shows; that is asked at most once a second."""
        made = ClickHouseOptions.model_validate(options)
        assert self._endpoint is not None, "open() comes first"
        database, view = made.database or self._endpoint.database, made.table_of(asset)
        if version is None:
            version = await self._version(asset, database, view)
        place = Place(database, view, asset, version)
        return SqlTable(version, (database, place.table) if database else (place.table,))

    async def query(
        self,
        sql: str,
        params: Mapping[str, Any] | Sequence[Any] | None = None,
        *,
        types: Sequence[DataType] = (),
        timeout_s: float | None = None,
    ) -> Result:
        """Run a query and give all of its rows; `params` fill its `{name:Type}`, and are never put into its text."""
        binary = any(type_.kind is Kind.BINARY for type_ in types)
        async with self._errors("querying", timeout_s):
            found = await self._opened().query(
                sql,
                parameters=dict(params or {}),
                settings=_settings(timeout_s) if types else {},
                query_formats={"String": "bytes"} if binary else None,
            )
            names = tuple(type_.name for type_ in found.column_types)
            rows = found.result_rows
            convert = row_maker(types, bytes_for_text=binary)
            return Result(tuple(found.column_names), names, tuple(map(tuple if convert is None else convert, rows)))

    async def stream(
        self,
        sql: str,
        params: Mapping[str, Any] | Sequence[Any] | None = None,
        *,
        types: Sequence[DataType],
        timeout_s: float | None = None,
    ) -> AsyncIterator[pa.RecordBatch]:
        """A query's rows as Arrow batches of these types, as they come; the statement ends when this is closed."""
        client = self._opened()
        settings = {**READ_SETTINGS, **_settings(timeout_s), "output_format_arrow_string_as_string": 0}
        async with self._errors("streaming", timeout_s):
            batches = await client.query_arrow_stream(sql, dict(params or {}), settings, use_strings=False)
            async with batches:
                async for batch in batches:
                    yield arrow_batch(batch, types)

    async def arrow(self, sql: str, params: Mapping[str, Any] | None = None) -> pa.Table:
        """Run a query and give all of its rows as Arrow."""
        async with self._errors("querying"):
            return await self._opened().query_arrow(sql, parameters=dict(params or {}), settings=dict(READ_SETTINGS))

    async def close(self) -> None:
        """Free the connections. A second call does nothing."""
        reading = list(self._reading.values())
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
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

    async def _version(self, asset: str, database: str, view: str) -> str:
        key = (database, view)
        at, version = self._current.get(key, (float("-inf"), ""))
        if time.monotonic() - at < _FRESH_S:
            return version
        reading = self._reading.get(key)
        if reading is None:
            reading = self._reading[key] = asyncio.get_running_loop().create_task(self._read(asset, database, view))
            reading.add_done_callback(lambda _: self._reading.pop(key, None))
        return await asyncio.shield(reading)

    async def _read(self, asset: str, database: str, view: str) -> str:
        """What the view's comment says; the view is its own pointer."""
        asked = time.monotonic()
        database = database or str((await self.query("SELECT currentDatabase()")).rows[0][0])
        found = (await self.query(_VIEW, {"database": database, "name": view})).rows
        marker = Marker.parse(str(found[0][0])) if found else None
        if marker is None or marker.asset != asset:
            raise NotFound(
                f"asset {asset} has no published version in {self._endpoint}: no view '{view}' of its own is there",
                hint="run its spec first; `millrace versions` lists what there is",
            )
        self._current[database, view] = (asked, marker.version)
        return marker.version

    @contextlib.asynccontextmanager
    async def _errors(self, doing: str, timeout_s: float | None = None) -> AsyncIterator[None]:
        from clickhouse_connect.driver.exceptions import Error

        assert self._endpoint is not None
        slow = f"{doing} in {self._endpoint} took longer than {timeout_s:g} s" if timeout_s else ""
        try:
            async with asyncio.timeout(
                timeout_s and timeout_s + _GRACE_S
            ):  # the server keeps the time, unless it hangs
                yield
        except TimeoutError as error:
            raise TransientError(slow, hint="ask for less, or raise the API's `limits.timeout`") from error
        except Error as error:
            code = getattr(error, "code", None)
            if code is None:
                raise lost(error, doing, self._endpoint) from error
            if code == _TIMEOUT_EXCEEDED and timeout_s:
                raise TransientError(slow, hint="ask for less, or raise the API's `limits.timeout`") from error
            found = store_error(code, own_words(error), doing, self._endpoint)
            if code in (_UNKNOWN_TABLE, _DROPPED) and timeout_s is not None:
                self._current.clear()
                raise NotFound(found.message, hint=found.hint) from error
            raise found from error


def _settings(timeout_s: float | None) -> dict[str, Any]:
    limit = {} if timeout_s is None else {"max_execution_time": timeout_s, "timeout_overflow_mode": "throw"}
    return {**_QUERY_SETTINGS, **limit}
