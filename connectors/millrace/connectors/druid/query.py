"""SQL over a Druid, for serving: its HTTP API with typed parameters.

https://druid.apache.org/docs/33.0.0/api-reference/sql-api
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from millrace.connectors.base import SqlTable
from millrace.connectors.druid.options import DruidOptions
from millrace.errors import NotFound, TargetError, TransientError
from millrace.spec.connection import Connection
from millrace.spec.types import DataType, Kind

if TYPE_CHECKING:
    import httpx
    import pyarrow as pa

_PATH = "/druid/v2/sql"
_PORTS = {"druid": 8888, "druids": 9088}
_CONNECT_S = 10.0
_GRACE_S = 1.0
_BATCH_ROWS = 8192
_HINT = "ask for less, or raise the API's `limits.timeout`"
#: Distinct counts are exact unless a sketch is asked for; times come as ISO texts, arrays as arrays.
_CONTEXT: Mapping[str, Any] = {
    "useApproximateCountDistinct": False,
    "useApproximateTopN": False,
    "sqlTimeZone": "UTC",
    "sqlStringifyArrays": False,
}


@dataclass(frozen=True)
class Result:
    """A query's answer: the names of its columns, and its rows as Python values."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


class DruidReader:
    """Runs queries. Open and use it in one event loop; any number of calls at a time.

    Druid itself switches segments: a query sees the ones that are current when it begins, and a table has no versions
    of its own. A query whose caller has left is cancelled.
    """

    dialect: ClassVar[str] = "druid"

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._http: httpx.AsyncClient | None = None

    async def open(self) -> None:
        """Make the connection pool. Raises TransientError when the server can't be reached."""
        import httpx

        to = self._connection
        scheme = "https" if to.scheme == "druids" else "http"
        login = (to.user, to.password.value) if to.user else None
        base = f"{scheme}://{to.host}:{to.port or _PORTS[to.scheme]}"
        self._http = httpx.AsyncClient(base_url=base, auth=login, timeout=httpx.Timeout(None, connect=_CONNECT_S))
        async with self._errors("connecting to"):
            (await self._http.get("/status/health")).raise_for_status()

    async def table(self, asset: str, options: Mapping[str, Any], version: str | None = None) -> SqlTable:
        """The datasource, whose time column is called `__time`."""
        made = DruidOptions.model_validate(options)
        return SqlTable("", (made.datasource or asset,), ((made.timestamp, "__time"),))

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
        converts = [_convert(type_) for type_ in types]
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
        converts = [_convert(type_) for type_ in types]
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
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    async def _lines(
        self, sql: str, params: Any, timeout_s: float | None, doing: str
    ) -> AsyncGenerator[list[Any], None]:
        """The header and the rows, as `arrayLines` gives them. A last empty line tells that they are all."""
        assert self._http is not None, "open() comes first"
        query_id = str(uuid.uuid4())
        context = {**_CONTEXT, "sqlQueryId": query_id}
        if timeout_s is not None:
            context["timeout"] = int(timeout_s * 1000)
        body: dict[str, Any] = {"query": sql, "parameters": list(params or ()), "context": context}
        body |= {"resultFormat": "arrayLines", "header": True}
        whole = False
        try:
            async with self._errors(doing, timeout_s), self._http.stream("POST", _PATH, json=body) as answer:
                if answer.status_code != 200:
                    raise self._refused(answer.status_code, await answer.aread(), doing, timeout_s)
                async for line in answer.aiter_lines():
                    whole = not line.strip()
                    if not whole:
                        yield json.loads(line, parse_float=Decimal)
            if not whole:
                raise TransientError(f"{doing} {self._connection}: the answer broke off in its middle")
        finally:
            if not whole:
                await asyncio.shield(self._cancel(query_id))

    async def _cancel(self, query_id: str) -> None:
        if self._http is not None:
            with contextlib.suppress(Exception):  # it may have ended by itself, or the server may be away
                await self._http.delete(f"{_PATH}/{query_id}", timeout=_CONNECT_S)

    def _refused(self, status: int, content: bytes, doing: str, timeout_s: float | None) -> Exception:
        try:
            told = json.loads(content)
        except ValueError:
            told = {}
        text = str(told.get("errorMessage") or told.get("error") or content[:500].decode(errors="replace"))
        what = f"{doing} {self._connection}: {text}"
        code = str(told.get("errorCode") or told.get("error") or "")
        if status == 504 or "timeout" in code.lower():
            return TransientError(f"{doing} {self._connection} took longer than {timeout_s or 0:g} s", hint=_HINT)
        if status in (429, 502, 503):
            return TransientError(what, hint="Druid is starting, overloaded, or a part of it is away")
        if "not found" in text and "Object" in text:
            return NotFound(what, hint="the datasource has no segments yet: run the asset's spec first")
        return TargetError(what, hint="see the broker's log for the query")

    @contextlib.asynccontextmanager
    async def _errors(self, doing: str, timeout_s: float | None = None) -> AsyncIterator[None]:
        import httpx

        try:
            async with asyncio.timeout(timeout_s and timeout_s + _GRACE_S):
                yield
        except TimeoutError as error:
            raise TransientError(f"{doing} {self._connection} took longer than {timeout_s:g} s", hint=_HINT) from error
        except httpx.HTTPStatusError as error:
            raise TransientError(f"{doing} {self._connection}: {error}", hint="is it a router or broker?") from error
        except httpx.HTTPError as error:
            text = str(error) or type(error).__name__
            raise TransientError(f"{doing} {self._connection}: {text}", hint="is the server running?") from error


def _row(row: Sequence[Any], converts: Sequence[Callable[[Any], Any]]) -> tuple[Any, ...]:
    return tuple(None if value is None else convert(value) for value, convert in zip(row, converts, strict=True))


def _batch(rows: Sequence[tuple[Any, ...]], names: Sequence[str], types: Sequence[DataType]) -> pa.RecordBatch:
    import pyarrow as pa

    from millrace.connectors.wire.arrow_types import to_arrow

    columns = zip(*rows, strict=True)
    arrays = [pa.array(list(values), type=to_arrow(type_)) for values, type_ in zip(columns, types, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, names=list(names))


def _convert(type_: DataType) -> Callable[[Any], Any]:
    """From Druid's JSON to a value of the column's type: it knows long, double, string and time alone."""
    match type_.kind:
        case Kind.BOOLEAN:
            return lambda value: value in (True, 1, "true", "1")
        case Kind.TINYINT | Kind.SMALLINT | Kind.INT | Kind.BIGINT:
            return int
        case Kind.FLOAT | Kind.DOUBLE:
            return float
        case Kind.DECIMAL:
            quantum = Decimal(1).scaleb(-type_.scale)
            return lambda value: Decimal(str(value)).quantize(quantum)
        case Kind.STRING:
            return str
        case Kind.BINARY:
            return base64.b64decode
        case Kind.DATE:
            return lambda value: date.fromisoformat(str(value)[:10])
        case Kind.TIMESTAMP:
            return lambda value: _instant(str(value))
        case Kind.TIMESTAMP_NTZ:
            return lambda value: _instant(str(value)).replace(tzinfo=None)
        case Kind.ARRAY:
            item = _convert(type_.fields[0].type)
            return lambda value: [None if one is None else item(one) for one in _listed(value)]
        case _:
            return lambda value: json.loads(value) if isinstance(value, str) else value


def _instant(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _listed(value: Any) -> list[Any]:
    """A list as such, as JSON text, or the one value that Druid gives for a list of one."""
    if isinstance(value, list):
        return value
    if isinstance(value, str) and value.startswith("["):
        found: list[Any] = json.loads(value)
        return found
    return [value]
