"""A connection to a ClickHouse through clickhouse-connect, with its errors as ours."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from millrace.connectors.clickhouse.endpoint import ROW_ERRORS, Endpoint, lost, store_error

if TYPE_CHECKING:
    import pyarrow as pa
    from clickhouse_connect.driver.client import Client

_CONNECT_TIMEOUT_S = 10
logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())  # its errors are raised, too
#: An insert has succeeded only when it is over; nulls stay nulls; equal blocks are no duplicates.
_INSERT_SETTINGS: Mapping[str, Any] = {
    "wait_end_of_query": 1,
    "send_progress_in_http_headers": 0,
    "async_insert": 0,
    "insert_deduplicate": 0,
    "input_format_null_as_default": 0,
    "input_format_arrow_allow_missing_columns": 0,
}
READ_SETTINGS: Mapping[str, Any] = {"output_format_arrow_string_as_string": 1}


class RowRefused(Exception):
    """The server refused a batch because of a row in it; the message is the server's."""


class Link:
    """One client, connected when it is first used. Its methods raise TransientError or TargetError, saying `doing`."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._client: Client | None = None

    def rows(self, doing: str, sql: str, params: Mapping[str, Any] | None = None) -> Sequence[Sequence[Any]]:
        """A query's rows as Python values; `params` fill its `{name:Type}`."""
        with self._errors(doing):
            found: Sequence[Sequence[Any]] = self._connected().query(sql, parameters=dict(params or {})).result_rows
            return found

    def table(self, doing: str, sql: str, settings: Mapping[str, Any] | None = None) -> pa.Table:
        """A query's rows as Arrow."""
        with self._errors(doing):
            found: pa.Table = self._connected().query_arrow(sql, settings={**READ_SETTINGS, **(settings or {})})
            return found

    def command(self, doing: str, sql: str, settings: Mapping[str, Any] | None = None) -> None:
        """Run a statement that gives no rows."""
        with self._errors(doing):
            self._connected().command(sql, settings=dict(settings or {}))

    def insert(self, doing: str, table: str, columns: Sequence[str], stream: pa.Buffer) -> int:
        """Insert an Arrow IPC stream into a table (as SQL); the rows written, all of them confirmed.

        Raises RowRefused when some row of it is to blame; nothing of the batch is in the table then.
        """
        block: Any = stream
        with self._errors(doing, of_rows=True):
            summary = self._connected().raw_insert(
                table, columns, block, settings=dict(_INSERT_SETTINGS), fmt="ArrowStream"
            )
            return summary.written_rows

    def version(self, doing: str) -> tuple[int, ...]:
        """The server's version, e.g. (24, 10, 2, 80)."""
        with self._errors(doing):
            text = self._connected().server_version or ""
        return tuple(int(part) for part in text.split(".") if part.isdigit())

    def close(self) -> None:
        """Let go of the client; it stays for the process's next link to the same place."""
        self._client = None

    def _connected(self) -> Client:
        if self._client is None:
            self._client = connect(self.endpoint)
        return self._client

    @contextlib.contextmanager
    def _errors(self, doing: str, *, of_rows: bool = False) -> Iterator[None]:
        from clickhouse_connect.driver.exceptions import Error

        try:
            yield
        except Error as error:
            code, text = getattr(error, "code", None), own_words(error)
            if code is None:
                raise lost(error, doing, self.endpoint) from error
            if of_rows and code in ROW_ERRORS:
                raise RowRefused(text) from error
            raise store_error(code, text, doing, self.endpoint) from error


def own_words(error: Exception) -> str:
    """The server's text without what clickhouse-connect puts before it."""
    text = str(error)
    return text[max(text.find("Code: "), 0) :]


@lru_cache(maxsize=8)
def connect(endpoint: Endpoint) -> Client:
    """The process's client of an endpoint, usable from several threads; raises clickhouse-connect's own errors.

    Kept, because a new one asks the server four questions before the first of ours (50 ms).
    """
    import clickhouse_connect

    return clickhouse_connect.get_client(**client_options(endpoint))


def client_options(endpoint: Endpoint) -> dict[str, Any]:
    """The options of clickhouse-connect's clients, sync and async, for an endpoint."""
    return {
        "host": endpoint.host,
        "port": endpoint.port,
        "username": endpoint.user,
        "password": endpoint.password.value,
        "database": endpoint.database or "__default__",
        "secure": endpoint.tls,
        "verify": not endpoint.insecure,
        "ca_cert": endpoint.ca or None,
        "client_cert": endpoint.cert or None,
        "client_cert_key": endpoint.cert_key or None,
        "connect_timeout": _CONNECT_TIMEOUT_S,
        "send_receive_timeout": int(endpoint.timeout_s),
        "compress": not endpoint.local,
        "client_name": "millrace",
        "autogenerate_session_id": False,
        "show_clickhouse_errors": "scrub",
        "tz_mode": "aware",
    }
