"""A real PostgreSQL, for the catalog. It never runs as root: as root, its user is Debian's postgres."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Sequence
from typing import Any, ClassVar, LiteralString
from urllib.parse import quote

import psycopg

from tests.servers.process import HOST, ServerProcess, program

_FOLDERS = ("/usr/lib/postgresql/*/bin",)
_PACKAGE = "postgresql"


class Postgres(ServerProcess):
    """One server with the superuser `user`. Every commit survives `kill`, though not a power cut."""

    name: ClassVar[str] = "postgres"
    system_user: ClassVar[str | None] = "postgres"
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # "fast": doesn't wait for clients
    user: ClassVar[str] = "millrace"
    password: ClassVar[str] = "pass/word:with@marks"

    def __init__(self) -> None:
        super().__init__()
        self._data = self.folder / "data"
        self._numbers = itertools.count(1)

    def url(self, database: str = "postgres") -> str:
        """SQLAlchemy's URL of a database."""
        login = f"{self.user}:{quote(self.password, safe='')}"
        return f"postgresql+psycopg://{login}@{HOST}:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        """A new connection that commits each statement; close it, or use it as a context manager."""
        return psycopg.connect(
            host=HOST,
            port=self.port,
            user=self.user,
            password=self.password,
            dbname=database,
            autocommit=True,
            connect_timeout=5,
        )

    def new_database(self) -> str:
        """Make an empty database with a name that was not used before; its name."""
        name = f"test_{next(self._numbers)}"
        with self.connect() as connection:
            connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
        return name

    def drop_database(self, name: str) -> None:
        """Drop it together with the connections to it."""
        statement: LiteralString = "DROP DATABASE IF EXISTS {} WITH (FORCE)"
        with self.connect() as connection:
            connection.execute(psycopg.sql.SQL(statement).format(psycopg.sql.Identifier(name)))

    def prepare(self) -> None:
        password_file = self.folder / "password"
        password_file.write_text(self.password)
        self.run(
            program("initdb", *_FOLDERS, package=_PACKAGE),
            f"--pgdata={self._data}",
            f"--username={self.user}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        )

    def command(self) -> Sequence[str]:
        settings = {
            "listen_addresses": HOST,
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
            "shared_buffers": "16MB",
            "timezone": "UTC",
        }
        server = program("postgres", *_FOLDERS, package=_PACKAGE)
        return [str(server), "-D", str(self._data), *(f"--{name}={value}" for name, value in settings.items())]

    def ready(self) -> bool:
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True
