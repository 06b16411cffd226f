"""Reading MySQL by column: connectorx decodes the wire protocol in each Spark task straight into Arrow batches.

It speaks no TLS: encrypted connections are read over Connector/J (`source.py`).
"""

from __future__ import annotations

import faulthandler
import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

import pyarrow as pa
import pymysql

from millrace.connectors.base import Gate
from millrace.connectors.channel import timed
from millrace.connectors.mysql.client import explain
from millrace.connectors.mysql.endpoint import WRITE_TIMEOUT_S, Endpoint, session_variables
from millrace.connectors.wire.arrow_types import to_arrow
from millrace.spec.types import Column, DataType, Kind

_BATCH_BYTES = 4 << 20
_MOST_BATCH_ROWS = 16_384
_CODE = re.compile(r"ERROR (\d+) \(\w+\): (.*?)(?: \}|$)", re.DOTALL)

T = TypeVar("T")


@dataclass(frozen=True)
class ArrowTask:
    """Runs its own statements of a plan, those with the numbers that Spark gives it, and passes their rows the gate.

    Each statement gives the columns in this order. Raises TransientError when the server goes away, SourceError for
    what it refuses. A server that says nothing for as long as the connection's read-timeout ends the worker.
    """

    end: Endpoint
    session: Mapping[str, str | int]
    statements: tuple[str, ...]
    columns: tuple[Column, ...]
    batch_rows: int
    gate: Gate

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch.column(0).to_numpy():
                for waited_s, rows in timed(self._rows(self.statements[int(number)])):
                    self.gate.admit(rows.num_rows, rows.nbytes)
                    self.gate.done(rows.num_rows, rows.nbytes, waited=waited_s)
                    yield rows

    def _rows(self, statement: str) -> Iterator[pa.RecordBatch]:
        _reach(self.end)
        reader = self._watched(lambda: self._open(statement))
        while (batch := self._watched(lambda: self._next(reader))) is not None:
            yield batch

    def _next(self, reader: Iterator[pa.RecordBatch]) -> pa.RecordBatch | None:
        batch = next(reader, None)
        if batch is None:
            return None
        arrays = [as_column(batch.column(i), column.type) for i, column in enumerate(self.columns)]
        return pa.RecordBatch.from_arrays(arrays, names=[column.name for column in self.columns])

    def _open(self, statement: str) -> Iterator[pa.RecordBatch]:
        os.environ.setdefault("RUST_BACKTRACE", "0")
        import connectorx

        connection = self.end.connection
        login = f"{quote(connection.user, safe='')}:{quote(connection.password.value, safe='')}"
        host = f"[{connection.host}]" if ":" in connection.host else connection.host
        reader: Any = connectorx.read_sql(  # its stubs know nothing of streams
            f"mysql://{login}@{host}:{self.end.port}/",
            statement,
            return_type="arrow_stream",
            batch_size=self.batch_rows,
            pre_execution_query=f"SET {session_variables({'net_write_timeout': WRITE_TIMEOUT_S, **self.session})}",
        )
        return iter(reader)

    def _watched(self, wait: Callable[[], T]) -> T:
        """connectorx has no time limit, and holds the interpreter as it waits: a silent server ends the process."""
        faulthandler.dump_traceback_later(self.end.read_timeout_s, exit=True, file=2)
        try:
            return wait()
        except BaseException as error:  # a panic of Rust is no Exception
            raise explain(_as_driver_error(error), self.end, "reading") from error
        finally:
            faulthandler.cancel_dump_traceback_later()


def batch_rows(row_bytes: int) -> int:
    """How many rows a batch has, for rows of this size on average."""
    return max(1, min(_MOST_BATCH_ROWS, _BATCH_BYTES // max(1, row_bytes)))


def as_column(values: pa.Array[Any], type_: DataType) -> pa.Array[Any]:
    """What a column's SQL expression gave (`ColumnRead.arrow_sql`), as a column of this type."""
    wanted = to_arrow(type_)
    match type_.kind:
        case Kind.BOOLEAN:
            return values.cast(pa.uint64()).cast(wanted)
        case Kind.DATE:
            return values.cast(pa.int32()).cast(wanted)
        case Kind.TIMESTAMP | Kind.TIMESTAMP_NTZ:
            return values.cast(pa.int64()).cast(wanted)
        case _:
            return values.cast(wanted)


def _reach(end: Endpoint) -> None:
    """Raises TransientError when nobody listens; connectorx would try for half a minute."""
    try:
        socket.create_connection((end.connection.host, end.port), end.connect_timeout_s).close()
    except OSError as error:
        raise explain(error, end, "connecting to") from error


def _as_driver_error(error: BaseException) -> Exception:
    """What connectorx says in words, as PyMySQL would: with MySQL's number, or else a lost connection."""
    text = str(error)
    refused = _CODE.search(text)
    if refused:
        return pymysql.MySQLError(int(refused[1]), refused[2])
    if isinstance(error, Exception) and "MySQL" not in text and "IO error" not in text and "DriverError" not in text:
        return error
    return OSError(text.partition("\n")[0])


def statements(selects: Sequence[tuple[str, Sequence[str]]], columns: int) -> tuple[str, ...]:
    """One statement for each predicate of each select, of its columns c0, c1, … alone."""
    names = ", ".join(f"c{i}" for i in range(columns))
    return tuple(
        f"SELECT {names} FROM ({select}) AS t WHERE {predicate}"
        for select, predicates in selects
        for predicate in predicates
    )
