"""A real MariaDB 10.11, which stands for MySQL: utf8mb4, UTC, strict mode, and a user that may do everything."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import quote

import pymysql

from tests.servers.process import HOST, ServerProcess, program

_PACKAGE = "mariadb-server"
_SMALL: Mapping[str, str] = {
    "innodb-buffer-pool-size": "64M",
    "innodb-log-file-size": "32M",
    "key-buffer-size": "1M",
    "aria-pagecache-buffer-size": "8M",
}


class MariaDb(ServerProcess):
    """One server with small caches. Every commit survives `kill`, though not a power cut.

    `settings` are options of mariadbd, such as {"innodb-buffer-pool-size": "1G"}.
    """

    name: ClassVar[str] = "mariadb"
    system_user: ClassVar[str | None] = "mysql"
    user: ClassVar[str] = "millrace"
    password: ClassVar[str] = "pass/word:with@marks"

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.settings: dict[str, str] = {
            "datadir": str(self.folder / "data"),
            "socket": str(self.folder / "socket"),
            "tmpdir": str(self.folder),  # in a shared one, a server that starts removes the others' temporary tables
            "pid-file": str(self.folder / "pid"),
            "bind-address": HOST,
            "character-set-server": "utf8mb4",
            "default-time-zone": "+00:00",
            "innodb-flush-log-at-trx-commit": "2",
            "local-infile": "ON",
            "init-file": str(self.folder / "init.sql"),
            **_SMALL,
            **(settings or {}),
        }
        self._numbers = itertools.count(1)

    def url(self, database: str = "") -> str:
        """The URL of a connection: `mysql://USER:PASSWORD@127.0.0.1:PORT/DATABASE`."""
        return f"mysql://{self.user}:{quote(self.password, safe='')}@{HOST}:{self.port}/{database}"

    def connect(self, database: str | None = None, **options: Any) -> pymysql.Connection[Any]:
        """A new connection that commits each statement; close it, or use it as a context manager."""
        settings = {"autocommit": True, "local_infile": True, "connect_timeout": 5, **options}
        return pymysql.connect(
            host=HOST, port=self.port, user=self.user, password=self.password, database=database, **settings
        )

    def execute(self, sql: str, arguments: Sequence[Any] = (), database: str | None = None) -> list[tuple[Any, ...]]:
        """Run one statement on a connection of its own; its rows."""
        with self.connect(database) as connection, connection.cursor() as cursor:
            cursor.execute(sql, arguments or None)
            return list(cursor.fetchall())

    def new_database(self) -> Database:
        """An empty database, with a name that was not used before."""
        database = Database(self, f"test_{next(self._numbers)}")
        self.execute(f"CREATE DATABASE {database.name}")
        return database

    def prepare(self) -> None:
        grants = [
            f"CREATE USER IF NOT EXISTS '{self.user}'@'{host}' IDENTIFIED BY '{self.password}';\n"
            f"GRANT ALL ON *.* TO '{self.user}'@'{host}' WITH GRANT OPTION;\n"
            for host in ("%", "localhost", HOST)  # the installed anonymous user at localhost would shadow '%'
        ]
        (self.folder / "init.sql").write_text("".join(grants))
        self.run(
            program("mariadb-install-db", "/usr/bin", package=_PACKAGE),
            "--no-defaults",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--skip-name-resolve",
            f"--datadir={self.settings['datadir']}",
            f"--innodb-log-file-size={_SMALL['innodb-log-file-size']}",
        )

    def command(self) -> Sequence[str]:
        server = program("mariadbd", "/usr/sbin", "/usr/libexec", package=_PACKAGE)
        options = [f"--{name}={value}" for name, value in self.settings.items()]
        return [
            str(server), "--no-defaults", f"--port={self.port}", "--skip-name-resolve", "--skip-log-bin", *options
        ]  # fmt: skip

    def ready(self) -> bool:
        try:
            self.connect().close()
        except pymysql.err.OperationalError:
            return False
        return True


@dataclass(frozen=True)
class Database:
    """One database of a server, for one test."""

    server: MariaDb
    name: str

    @property
    def url(self) -> str:
        return self.server.url(self.name)

    def connect(self, **options: Any) -> pymysql.Connection[Any]:
        return self.server.connect(self.name, **options)

    def execute(self, sql: str, arguments: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement; its rows."""
        return self.server.execute(sql, arguments, self.name)

    def insert(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows that hold a value for every column, in one transaction."""
        marks = ", ".join(["%s"] * len(rows[0]))
        with self.connect(autocommit=False) as connection, connection.cursor() as cursor:
            cursor.executemany(f"INSERT INTO `{table}` VALUES ({marks})", rows)
            connection.commit()

    def drop(self) -> None:
        self.server.execute(f"DROP DATABASE IF EXISTS {self.name}")
