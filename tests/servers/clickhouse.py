"""ClickHouse for tests: millrace's own local server over chdb, or a real one whose URL is in MILLRACE_TEST_CLICKHOUSE.

A URL is that of a connection, e.g. `clickhouse://default:secret@ch1:8123`; its user must be allowed to make databases.
"""

from __future__ import annotations

import os
import secrets
import sys
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import ClassVar
from urllib.parse import quote, urlencode

from millrace.spec.connection import Connection, parse_url
from tests.servers.process import HOST, ServerProcess

ENVIRONMENT = "MILLRACE_TEST_CLICKHOUSE"


class StatementFailed(Exception):
    """ClickHouse's answer to a statement that it could not run, with its HTTP status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class ClickHouse:
    """Some ClickHouse, by the connection to it."""

    connection: Connection

    def query(self, sql: str, database: str = "", body: bytes = b"", **params: str) -> str:
        """Run one statement, with `body` behind it; its output as text. Raises StatementFailed."""
        login = f"{self.connection.user or 'default'}:{self.connection.password.value}".encode()
        headers = {"Authorization": "Basic " + b64encode(login).decode()}
        given = {"query": sql, **({"database": database} if database else {}), **params}
        kind = HTTPSConnection if self.connection.scheme == "clickhouses" else HTTPConnection
        with closing(kind(self.connection.host, self.connection.port or 8123, timeout=60)) as link:
            link.request("POST", f"/?{urlencode(given)}", body, headers)
            answer = link.getresponse()
            text = answer.read().decode(errors="replace")
            if answer.status != 200:
                raise StatementFailed(answer.status, text)
            return text

    def new_database(self) -> ClickHouseDatabase:
        name = f"test_{secrets.token_hex(6)}"
        self.query(f"CREATE DATABASE {name} ENGINE = Atomic")
        return ClickHouseDatabase(self, name)


@dataclass(frozen=True)
class ClickHouseDatabase:
    """One database of a server, for one test."""

    server: ClickHouse
    name: str

    @property
    def connection(self) -> Connection:
        return parse_url("clickhouse_test", self.url, "the test")

    @property
    def url(self) -> str:
        """The URL of a connection to this database."""
        to = self.server.connection
        login = f"{quote(to.user or 'default', safe='')}:{quote(to.password.value, safe='')}"
        return f"{to.scheme}://{login}@{to.host}:{to.port or 8123}/{self.name}"

    def query(self, sql: str, body: bytes = b"", **params: str) -> str:
        return self.server.query(sql, self.name, body, **params)

    def tables(self) -> list[str]:
        return self.query(f"SELECT name FROM system.tables WHERE database = '{self.name}' ORDER BY name").split()

    def drop(self) -> None:
        self.server.query(f"DROP DATABASE IF EXISTS {self.name}")


class ClickHouseServer(ServerProcess):
    """The local server: chdb behind ClickHouse's HTTP interface. A kill loses nothing that it had confirmed."""

    name: ClassVar[str] = "clickhouse"

    def __init__(self, password: str = "") -> None:
        super().__init__()
        self.password = password

    def command(self) -> Sequence[str]:
        module = "millrace.connectors.clickhouse.server"
        words = [sys.executable, "-m", module, "--path", str(self.folder / "data"), "--port", str(self.port)]
        if self.password:
            (self.folder / "password").write_text(self.password)
            words += ["--password-file", str(self.folder / "password")]
        return words

    def ready(self) -> bool:
        with closing(HTTPConnection(HOST, self.port, timeout=5)) as link:
            try:
                link.request("GET", "/ping")
                return link.getresponse().status == 200
            except HTTPException:
                return False

    @property
    def clickhouse(self) -> ClickHouse:
        login = f"default:{quote(self.password, safe='')}"
        return ClickHouse(parse_url("clickhouse_test", f"clickhouse://{login}@{HOST}:{self.port}", "the test"))


@contextmanager
def running_clickhouse() -> Iterator[ClickHouse]:
    """The real one of MILLRACE_TEST_CLICKHOUSE, or else the local one, for as long as it is needed."""
    url = os.environ.get(ENVIRONMENT)
    if url:
        yield ClickHouse(parse_url("clickhouse_test", url, ENVIRONMENT))
        return
    with ClickHouseServer() as server:
        yield server.clickhouse
