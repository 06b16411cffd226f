"""SQL over a Druid, for serving: its HTTP API with typed parameters.

https://druid.apache.org/docs/33.0.0/api-reference/sql-api
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from millrace.connectors.druid.endpoint import endpoint_of, lost_text, refused
from millrace.connectors.druid.layout import TIME, Marker, datasource_of, where
from millrace.connectors.druid.link import CONNECT_S, CONTEXT, SQL_PATH
from millrace.connectors.druid.options import DruidOptions
from millrace.connectors.druid.pointer import path as pointer_path
from millrace.connectors.druid.values import converter
from millrace.connectors.endings import Endings
from millrace.connectors.readers import SqlTable
from millrace.errors import NotFound, TransientError
from millrace.spec.connection import Connection
from millrace.spec.types import DataType

if TYPE_CHECKING:
    import httpx
    import pyarrow as pa

POINTER_S = 5.0
_KNOWN_S = 1.0
_GRACE_S = 1.0
_BATCH_ROWS = 8192
_HINT = "ask for less, or raise the API's `limits.timeout`"


@dataclass(frozen=True)
class Result:
    """A query's answer: the names of its columns, and its rows as Python values."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


class DruidReader:
    """Runs queries. Open and use it in one event loop; any number of calls at a time.

    Follows the pointer in Druid's coordinator; while that is away nobody can move it, and the version that was known
    last stays. A query whose caller has left is cancelled in the broker.
    """

    dialect: ClassVar[str] = "druid"

    def __init__(self, connection: Connection) -> None:
        self._end = endpoint_of(connection)
        self._http: httpx.AsyncClient | None = None
        self._known: dict[str, tuple[float, Marker]] = {}

    async def open(self) -> None:
        """Make the connection pool. Raises TransientError when the broker can't be reached."""
        import httpx

        from millrace.connectors.druid.login import Login

        self._endings = Endings(httpx.HTTPError)
        timeout = httpx.Timeout(None, connect=CONNECT_S)
        self._http = httpx.AsyncClient(auth=Login(self._end), verify=self._end.verify(), timeout=timeout)
        async with self._errors("connecting to"):
            (await self._http.get(f"{self._end.broker}/status/health")).raise_for_status()

    async def table(self, asset: str, options: Mapping[str, Any], version: str | None = None) -> SqlTable:
        """The datasource of the current version, whose time column is called `__time`.

        A version by its id that is not the current one has a datasource of its own, unless it is of a line of `append`.
        """
        made = DruidOptions.model_validate(options)
        marker = await self._marker(asset, made.base(asset))
        if version and version != marker.version:
            marker = Marker(asset, version, datasource_of(made.base(asset), version))
        renamed = ((made.timestamp, TIME),) if made.timestamp else ()
        return SqlTable(marker.version, (marker.datasource,), renamed, where(marker))

    async def query(
        self,
        sql: str,
        params: Mapping[str, Any] | Sequence[Any] | None = None,
        *,
        types: Sequence[DataType] = (),
        timeout_s: float | None = None,
    ) -> Result:
        """Run a query and give all of its rows; `params` are `{"type": …, "value": …}` in the order of its `?`."""
        lines = self._lines(sql, params, timeout_s, "querying")
        names: tuple[str, ...] = ()
        rows: list[tuple[Any, ...]] = []
        converts = [converter(type_) for type_ in types]
        async with contextlib.aclosing(lines):
            async for line in lines:
                if not names:
                    names = tuple(map(str, line))
                else:
                    rows.append(_row(line, converts) if types else tuple(line))
        return Result(names, tuple(rows))

    async def stream(
        self,
        sql: str,
        params: Mapping[str, Any] | Sequence[Any] | None = None,
        *,
        types: Sequence[DataType],
        timeout_s: float | None = None,
    ) -> AsyncIterator[pa.RecordBatch]:
        """A query's rows as Arrow batches of these types, as they come; the query is cancelled when this is closed."""
        lines = self._lines(sql, params, timeout_s, "streaming")
        names: list[str] = []
        rows: list[tuple[Any, ...]] = []
        converts = [converter(type_) for type_ in types]
        async with contextlib.aclosing(lines):
            async for line in lines:
                if not names:
                    names = [str(name) for name in line]
                    continue
                rows.append(_row(line, converts))
                if len(rows) >= _BATCH_ROWS:
                    yield _batch(rows, names, types)
                    rows = []
        if rows:
            yield _batch(rows, names, types)

    async def close(self) -> None:
        """Free the connections. A second call does nothing."""
        if self._http is not None:
            await self._endings.wait()
            http, self._http = self._http, None
            await http.aclose()

    async def _lines(
        self, sql: str, params: Any, timeout_s: float | None, doing: str
    ) -> AsyncGenerator[list[Any], None]:
        """The header and the rows, as `arrayLines` gives them. A last empty line tells that they are all."""
        http = self._opened()
        query_id = str(uuid.uuid4())
        context = {**CONTEXT, "sqlQueryId": query_id}
        if timeout_s is not None:
            context["timeout"] = int(timeout_s * 1000)
        body: dict[str, Any] = {"query": sql, "parameters": list(params or ()), "context": context}
        body |= {"resultFormat": "arrayLines", "header": True}
        whole = False
        try:
            async with (
                self._errors(doing, timeout_s),
                http.stream("POST", self._end.broker + SQL_PATH, json=body) as answer,
            ):
                if answer.status_code != 200:
                    raise self._refused(answer.status_code, await answer.aread(), doing, timeout_s)
                async for line in answer.aiter_lines():
                    whole = not line.strip()
                    if not whole:
                        yield json.loads(line, parse_float=Decimal)
            if not whole:
                raise TransientError(f"{doing} {self._end}: the answer broke off in its middle")
        finally:
            if not whole:
                self._endings.add(self._cancel(query_id), f"query {query_id} in {self._end}")

    async def _cancel(self, query_id: str) -> None:
        """End it in the broker, which would go on."""
        if self._http is not None:
            await self._http.delete(f"{self._end.broker}{SQL_PATH}/{query_id}", timeout=CONNECT_S)

    async def _marker(self, asset: str, name: str) -> Marker:
        """The pointer, asked for at most once a second. Raises NotFound when nothing is published."""
        known = self._known.get(name)
        now = time.monotonic()
        if known is not None and now - known[0] < _KNOWN_S:
            return known[1]
        try:
            marker = await self._read_pointer(asset, name)
        except TransientError:
            if known is None:
                raise
            marker = known[1]
        self._known[name] = now, marker
        return marker

    async def _read_pointer(self, asset: str, name: str) -> Marker:
        doing = f"looking up the current version of {asset} in"
        async with self._errors(doing, POINTER_S):
            answer = await self._opened().get(self._end.coordinator + pointer_path(name))
        if answer.status_code >= 300 and answer.status_code != 404:
            raise refused(answer.status_code, answer.content, doing, self._end)
        marker = Marker.parse(answer.json()) if answer.status_code == 200 else None
        if marker is None or marker.asset != asset:
            raise NotFound(f"{asset} has no published version in {self._end}", hint="run its spec first")
        return marker

    def _opened(self) -> httpx.AsyncClient:
        assert self._http is not None, "open() comes first"
        return self._http

    def _refused(self, status: int, content: bytes, doing: str, timeout_s: float | None) -> Exception:
        found = refused(status, content, doing, self._end)
        if status == 504 or (isinstance(found, TransientError) and "timeout" in str(found).lower()):
            return TransientError(f"{doing} {self._end} took longer than {timeout_s or 0:g} s", hint=_HINT)
        return found

    @contextlib.asynccontextmanager
    async def _errors(self, doing: str, timeout_s: float | None = None) -> AsyncIterator[None]:
        import httpx

        try:
            async with asyncio.timeout(timeout_s and timeout_s + _GRACE_S):
                yield
        except TimeoutError as error:
            raise TransientError(f"{doing} {self._end} took longer than {timeout_s:g} s", hint=_HINT) from error
        except httpx.HTTPStatusError as error:
            raise TransientError(f"{doing} {self._end}: {error}", hint="is it a router or broker?") from error
        except httpx.HTTPError as error:
            hint = "is the server running?"
            raise TransientError(f"{doing} {self._end}: {lost_text(error)}", hint=hint) from error


def _row(row: Sequence[Any], converts: Sequence[Callable[[Any], Any]]) -> tuple[Any, ...]:
    return tuple(None if value is None else convert(value) for value, convert in zip(row, converts, strict=True))


def _batch(rows: Sequence[tuple[Any, ...]], names: Sequence[str], types: Sequence[DataType]) -> pa.RecordBatch:
    import pyarrow as pa

    from millrace.connectors.wire.arrow_types import to_arrow

    columns = zip(*rows, strict=True)
    arrays = [pa.array(list(values), type=to_arrow(type_)) for values, type_ in zip(columns, types, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, names=list(names))
