"""SQL over a MySQL or MariaDB, for serving: the source's own table, read only, on one connection pool."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from millrace.connectors.endings import Endings
from millrace.connectors.mysql.client import TooSlow, driver_tls, explain
from millrace.connectors.mysql.endpoint import Endpoint, endpoint
from millrace.connectors.mysql.options import MysqlOptions
from millrace.connectors.mysql.shards import is_pattern
from millrace.connectors.readers import SqlTable
from millrace.errors import SourceError, TransientError
from millrace.spec.connection import Connection
from millrace.spec.types import DataType, Kind

if TYPE_CHECKING:
    import pyarrow as pa

_CONNECTIONS = 16
_RECYCLE_S = 300
_BATCH_ROWS = 8192
_GRACE_S = 1.0
_NO_SUCH_THREAD = 1094
_SLOW_HINT = "ask for less, give the table an index for this, or raise the API's `limits.timeout`"
_INTEGERS = frozenset({Kind.TINYINT, Kind.SMALLINT, Kind.INT, Kind.BIGINT})
_FLOATS = frozenset({Kind.FLOAT, Kind.DOUBLE})


@dataclass(frozen=True)
class Result:
    """A query's answer: the names of its columns, and its rows as Python values."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


class MysqlReader:
    """Runs queries, each in a transaction that only reads. Open and use it in one event loop; many calls at a time.

    A statement whose caller has left, or whose time is up, is ended in the server.
    """

    dialect: ClassVar[str] = "mysql"

    def __init__(self, connection: Connection) -> None:
        self._end: Endpoint = endpoint(connection)
        self._pool: Any = None
        self._limit = "max_statement_time = {:.3f}"
        self._limits: dict[int, float] = {}  # by the connection's number: seconds that a statement may take

    async def open(self) -> None:
        """Connect. Raises TransientError when the server can't be reached, SourceError when it refuses us."""
        import aiomysql
        import pymysql

        self._endings = Endings(pymysql.MySQLError, OSError, RuntimeError)
        async with self._errors("connecting to"):
            self._pool = await aiomysql.create_pool(
                minsize=1, maxsize=_CONNECTIONS, pool_recycle=_RECYCLE_S, **self._options()
            )
        version = (await self.query("SELECT VERSION()")).rows[0][0]
        if "MariaDB" not in str(version):
            self._limit = "max_execution_time = {:.0f}"

    async def table(self, asset: str, options: Mapping[str, Any], version: str | None = None) -> SqlTable:
        """The source's table as it is at this moment: it has no versions, and the rows are those of its `where`."""
        made = MysqlOptions.model_validate(options)
        database = made.database or self._end.connection.database
        if is_pattern(made.table) or is_pattern(database):
            raise SourceError(
                f"the source of {asset}, {database}.{made.table}, is many tables, which can't be queried as one",
                hint="ask a target instead: leave `source: true` out of the API",
            )
        return SqlTable("", (database, made.table) if database else (made.table,), where=made.where)

    async def query(
        self,
        sql: str,
        params: Mapping[str, Any] | Sequence[Any] | None = None,
        *,
        types: Sequence[DataType] = (),
        timeout_s: float | None = None,
    ) -> Result:
        """Run a query and give all of its rows; the driver binds `params` in the place of `%(name)s`."""
        async with self._connection(timeout_s, "querying") as connection:
            cursor = await connection.cursor()
            await cursor.execute(sql, params or None)
            names = tuple(column[0] for column in cursor.description or ())
            rows = await cursor.fetchall()
        converts = [_convert(type_) for type_ in types]
        return Result(names, tuple(_row(row, converts) for row in rows) if types else tuple(rows))

    async def stream(
        self,
        sql: str,
        params: Mapping[str, Any] | Sequence[Any] | None = None,
        *,
        types: Sequence[DataType],
        timeout_s: float | None = None,
    ) -> AsyncIterator[pa.RecordBatch]:
        """A query's rows as Arrow batches of these types, as they come; the statement ends when this is closed."""
        import aiomysql
        import pyarrow as pa

        from millrace.connectors.wire.arrow_types import to_arrow

        converts = [_convert(type_) for type_ in types]
        arrow = [to_arrow(type_) for type_ in types]
        async with self._connection(timeout_s, "streaming") as connection:
            cursor = await connection.cursor(aiomysql.SSCursor)
            await cursor.execute(sql, params or None)
            names = [column[0] for column in cursor.description]
            while rows := await cursor.fetchmany(_BATCH_ROWS):
                columns = zip(*(_row(row, converts) for row in rows), strict=True)
                arrays = [pa.array(list(values), type=type_) for values, type_ in zip(columns, arrow, strict=True)]
                yield pa.RecordBatch.from_arrays(arrays, names=names)

    async def close(self) -> None:
        """Hang up. A second call does nothing."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await self._endings.wait()
            pool.terminate()
            await pool.wait_closed()

    def _options(self) -> dict[str, Any]:
        connection = self._end.connection
        return {
            "host": connection.host,
            "port": self._end.port,
            "user": connection.user,
            "password": connection.password.value,
            "db": connection.database or None,
            "charset": "utf8mb4",
            "autocommit": True,
            "connect_timeout": self._end.connect_timeout_s,
            "init_command": "SET time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES'",
            **{name: value for name, value in driver_tls(self._end).items() if name == "ssl"},
        }

    @contextlib.asynccontextmanager
    async def _connection(self, timeout_s: float | None, doing: str) -> AsyncIterator[Any]:
        """A connection of the pool; one that is left in the middle of a statement ends, and the statement with it."""
        assert self._pool is not None, "open() comes first"
        async with self._errors(doing, timeout_s):
            connection = await self._pool.acquire()
            whole = False
            try:
                await self._limit_statements(connection, timeout_s)
                yield connection
                whole = True
            except Exception as error:
                whole = _is_answer(error)
                raise
            finally:
                if not whole:
                    self._end_statement(connection)
                await asyncio.shield(self._pool.release(connection))

    async def _limit_statements(self, connection: Any, timeout_s: float | None) -> None:
        number, wanted = connection.thread_id(), timeout_s or 0.0
        if self._limits.get(number) == wanted:
            return
        unit = wanted if "statement" in self._limit else wanted * 1000
        async with connection.cursor() as cursor:
            if number not in self._limits:
                await cursor.execute("SET SESSION TRANSACTION READ ONLY")
            await cursor.execute("SET SESSION " + self._limit.format(unit))
        if len(self._limits) > 64 * _CONNECTIONS:
            self._limits.clear()
        self._limits[number] = wanted

    def _end_statement(self, connection: Any) -> None:
        """Hang up, and tell the server, which would notice only when it writes."""
        number = connection.thread_id()
        connection.close()
        self._endings.add(self._kill(number), f"statement of connection {number} in {self._end.connection}")

    async def _kill(self, number: int) -> None:
        import aiomysql
        import pymysql

        link = await aiomysql.connect(**self._options())
        try:
            async with link.cursor() as cursor:
                await cursor.execute("KILL %s", (number,))
        except pymysql.err.OperationalError as error:
            if error.args[0] != _NO_SUCH_THREAD:  # else it has ended by itself
                raise
        finally:
            link.close()

    @contextlib.asynccontextmanager
    async def _errors(self, doing: str, timeout_s: float | None = None) -> AsyncIterator[None]:
        import pymysql

        slow = f"{doing} {self._end.connection} took longer than {timeout_s or 0:g} s"
        try:
            async with asyncio.timeout(timeout_s and timeout_s + _GRACE_S):
                yield
        except TimeoutError as error:
            raise TransientError(slow, hint=_SLOW_HINT) from error
        except (pymysql.MySQLError, OSError, RuntimeError) as error:
            found = explain(error, self._end, doing)
            raise TransientError(slow, hint=_SLOW_HINT) if isinstance(found, TooSlow) else found from error


def _is_answer(error: Exception) -> bool:
    """Whether the server has answered with this error, so that the connection can go on."""
    code = error.args[0] if error.args else 0
    return isinstance(code, int) and 1000 <= code < 2000


def _row(row: Sequence[Any], converts: Sequence[Callable[[Any], Any]]) -> tuple[Any, ...]:
    return tuple(None if value is None else convert(value) for value, convert in zip(row, converts, strict=True))


def _convert(type_: DataType) -> Callable[[Any], Any]:
    """From what the driver gives to a value of the column's type: counts come as decimals, booleans as numbers."""
    kind = type_.kind
    if kind in _INTEGERS:
        return int
    if kind in _FLOATS:
        return float
    match kind:
        case Kind.BOOLEAN:
            return lambda value: bool(int.from_bytes(value) if isinstance(value, bytes) else value)
        case Kind.DECIMAL:
            return lambda value: value if isinstance(value, Decimal) else Decimal(str(value))
        case Kind.STRING:
            return lambda value: value.decode(errors="replace") if isinstance(value, bytes) else str(value)
        case Kind.BINARY:
            return lambda value: value.encode() if isinstance(value, str) else bytes(value)
        case Kind.TIMESTAMP:
            return lambda value: value.replace(tzinfo=UTC) if isinstance(value, datetime) else None
        case Kind.DATE | Kind.TIMESTAMP_NTZ:
            return lambda value: None if isinstance(value, str) else value  # a zero date comes as text
        case _:
            return lambda value: value
