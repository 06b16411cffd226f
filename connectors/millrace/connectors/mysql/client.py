"""One connection to a MySQL server for planning, and its errors in our words."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pymysql
from pymysql.constants import CR, ER

from millrace.connectors.mysql.endpoint import Endpoint, SslMode, session_variables
from millrace.errors import MillraceError, SourceError, TransientError

_AWAY = frozenset(
    {CR.CR_CONN_HOST_ERROR, CR.CR_CONNECTION_ERROR, CR.CR_SERVER_GONE_ERROR, CR.CR_SERVER_LOST, ER.CON_COUNT_ERROR}
    | {ER.SERVER_SHUTDOWN, ER.LOCK_WAIT_TIMEOUT, ER.LOCK_DEADLOCK, ER.HOST_IS_BLOCKED, ER.TOO_MANY_USER_CONNECTIONS}
)
_REFUSED = frozenset({ER.ACCESS_DENIED_ERROR, ER.DBACCESS_DENIED_ERROR, ER.TABLEACCESS_DENIED_ERROR, 1698})
_TOO_SLOW = frozenset({1969, 3024})  # MariaDB's max_statement_time, MySQL's max_execution_time


class TooSlow(SourceError):
    """A statement of the plan took longer than `plan_timeout`."""


class Client:
    """Runs the plan's statements, each within a time limit that the server keeps."""

    def __init__(self, end: Endpoint, link: pymysql.Connection[Any]) -> None:
        self._end = end
        self._link = link
        self.statements = 0

    @property
    def name(self) -> str:
        """The server, for messages."""
        return str(self._end.connection)

    @property
    def encrypted(self) -> bool:
        """Whether this connection speaks TLS."""
        return any(cipher for _, cipher in self.rows("SHOW SESSION STATUS LIKE 'Ssl_cipher'"))

    def value(self, sql: str) -> Any:
        """The first value of the first row; None when there is no row."""
        rows = self.rows(sql)
        return rows[0][0] if rows else None

    def records(self, sql: str) -> list[dict[str, Any]]:
        """The rows of one statement by the names of its columns, in lower case."""
        self.statements += 1
        try:
            with self._link.cursor() as cursor:
                cursor.execute(sql)
                names = [column[0].lower() for column in cursor.description or ()]
                return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        except pymysql.MySQLError as error:
            raise explain(error, self._end, "asking") from error

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of one statement. Raises TooSlow, TransientError or SourceError."""
        return [tuple(record.values()) for record in self.records(sql)]

    def text(self, value: str) -> str:
        """A text as an SQL literal."""
        literal: str = self._link.escape(value)
        return literal


@contextmanager
def connect(end: Endpoint, statement_limit: timedelta, session: Mapping[str, str | int]) -> Iterator[Client]:
    """A connection in UTC and utf8mb4 with these session variables. Raises TransientError or SourceError."""
    connection = end.connection
    try:
        link = pymysql.connect(
            host=connection.host,
            port=end.port,
            user=connection.user,
            password=connection.password.value,
            charset="utf8mb4",
            autocommit=True,
            connect_timeout=end.connect_timeout_s,
            read_timeout=end.read_timeout_s,
            init_command=f"SET {session_variables(session)}",
            **driver_tls(end),
        )
    except (pymysql.MySQLError, OSError, RuntimeError) as error:
        raise explain(error, end, "connecting to") from error
    try:
        client = Client(end, link)
        _limit_statements(client, statement_limit)
        yield client
    finally:
        link.close()


def explain(error: Exception, end: Endpoint, doing: str) -> MillraceError:
    """Our error for one of the driver's, with what to do next."""
    code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    text = str(error.args[-1]) if error.args else str(error)
    what = f"{doing} {end.connection}: {text}"
    if code in _TOO_SLOW:
        return TooSlow(what, hint="raise `plan_timeout`, or give the server an index for this")
    if code in _REFUSED:
        return SourceError(
            what,
            hint=f"correct user and password of the connection {end.connection.name}, or grant SELECT on the table",
        )
    if code == ER.BAD_DB_ERROR:
        return SourceError(what, hint="correct the connection's database, or `database` in the spec")
    if "SSL" in text or "certificate" in text or isinstance(error, ssl.SSLError | FileNotFoundError):
        return SourceError(what, hint="see ssl-mode, ssl-ca, ssl-cert and ssl-key of the connection")
    if code in _AWAY or isinstance(error, OSError):
        return TransientError(what, hint="see whether the server is up and can be reached from here")
    return SourceError(what, hint="see the statement's part that stands in the spec: table, columns, where, split_by")


def driver_tls(end: Endpoint) -> dict[str, Any]:
    """PyMySQL's arguments. Without any, it encrypts when the server can (`preferred`)."""
    if end.ssl_mode is SslMode.DISABLED:
        return {"ssl_disabled": True}
    if end.ssl_mode is SslMode.PREFERRED and not end.ssl_cert:
        return {}
    context = ssl.create_default_context(cafile=end.ssl_ca or None)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # MySQL's own self-made certificates don't pass it
    context.check_hostname = end.ssl_mode is SslMode.VERIFY_IDENTITY
    context.verify_mode = ssl.CERT_REQUIRED if end.ssl_mode.verifies else ssl.CERT_NONE
    if end.ssl_cert:
        context.load_cert_chain(end.ssl_cert, end.ssl_key)
    return {"ssl": context}


def _limit_statements(client: Client, limit: timedelta) -> None:
    version = str(client.value("SELECT VERSION()"))
    if "MariaDB" in version:
        client.rows(f"SET SESSION max_statement_time = {limit.total_seconds():.3f}")
        return
    client.rows(f"SET SESSION max_execution_time = {int(limit.total_seconds() * 1000)}")
    found = re.match(r"(\d+)", version)
    if found and int(found.group(1)) >= 8:
        client.rows("SET SESSION information_schema_stats_expiry = 0")
