"""One database, short transactions: begin, do, commit; what is transient is done again, the rest is explained.

A transaction is a function from a connection to a result. It may run more than once, so it must do nothing but read
and write this database. Nothing is done again once a commit was sent and the connection was lost: that is told.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError

from millrace.catalog.address import Address
from millrace.catalog.faults import Fault, classify, explain
from millrace.errors import ConfigError

T = TypeVar("T")
Work = Callable[[Connection], T]

_TRIES = 4
_FIRST_PAUSE_S = 0.05
_LOCK_WAIT_S = 10
_CONNECT_WAIT_S = 10
_ANSWER_WAIT_S = 60
_IDLE_IN_TRANSACTION_S = 120  # a server hangs up on a process that stopped in the middle of a write

_POSTGRES_OPTIONS = {"connect_timeout": _CONNECT_WAIT_S, "tcp_user_timeout": _ANSWER_WAIT_S * 1000}
_POSTGRES_LIMITS = text(
    f"select set_config('lock_timeout', '{_LOCK_WAIT_S}s', true),"
    f" set_config('idle_in_transaction_session_timeout', '{_IDLE_IN_TRANSACTION_S}s', true)"
)
_MYSQL_OPTIONS = {
    "connect_timeout": _CONNECT_WAIT_S,
    "read_timeout": _ANSWER_WAIT_S,
    "write_timeout": _ANSWER_WAIT_S,
    "init_command": f"SET SESSION wait_timeout={_IDLE_IN_TRANSACTION_S}, innodb_lock_wait_timeout={_LOCK_WAIT_S}",
}


class Database:
    """The engine of one catalog. Safe to use from several threads, and in a child after a fork."""

    def __init__(self, address: Address, *, pause: Callable[[float], None] = time.sleep) -> None:
        self.address = address
        self._pause = pause
        self._engine = _engine(address)
        self._pid = os.getpid()

    def read(self, what: str, work: Work[T]) -> T:
        """Run `work` in a transaction that only reads. `what` says what is being done, for errors."""
        return self._repeat(what, work, write=False)

    def write(self, what: str, work: Work[T]) -> T:
        """Run `work` in a transaction that writes, and commit it.

        Raises TransientError when it may work later, ConfigError when the database can't be used as it is, RunFailed
        for a statement that it refuses. Anything that `work` raises itself rolls back and goes through.
        """
        return self._repeat(what, work, write=True)

    def close(self) -> None:
        self._engine.dispose()

    def _repeat(self, what: str, work: Work[T], *, write: bool) -> T:
        if self._pid != os.getpid():
            self._engine.dispose(close=False)  # the parent's connections are the parent's
            self._pid = os.getpid()
        pause_s = _FIRST_PAUSE_S
        for tries_left in reversed(range(_TRIES)):
            attempt = _Attempt(self._engine, write=write)
            try:
                return attempt.run(work)
            except DBAPIError as error:
                certain = classify(error) is Fault.BUSY or not attempt.committing
                if not (tries_left and certain and classify(error) in {Fault.BUSY, Fault.LOST}):
                    raise explain(error, what, self.address.shown, committing=attempt.committing) from error
            self._pause(pause_s * (1 + random.random()))
            pause_s *= 4
        raise AssertionError("the last try returns or raises")


class _Attempt:
    """One try of a transaction; `committing` tells whether its commit was sent."""

    def __init__(self, engine: Engine, *, write: bool) -> None:
        self._engine = engine
        self._write = write
        self.committing = False

    def run(self, work: Work[T]) -> T:
        with self._engine.connect() as connection:
            prepared = connection.execution_options(millrace_write=self._write)
            with prepared.begin() as transaction:
                if self._write and prepared.dialect.name == "postgresql":
                    prepared.execute(_POSTGRES_LIMITS)
                result = work(prepared)
                self.committing = self._write
                transaction.commit()
            return result


def _engine(address: Address) -> Engine:
    try:
        if address.dialect == "sqlite":
            return _sqlite(address)
        options = _POSTGRES_OPTIONS if address.dialect == "postgresql" else _MYSQL_OPTIONS
        return create_engine(
            address.url,
            pool_pre_ping=True,
            isolation_level="READ COMMITTED",
            hide_parameters=True,
            connect_args=_not_in_url(address, options),
        )
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the catalog {address.shown} needs the Python package '{error.name}', which is not installed",
            hint=f"pip install '{error.name}'",
        ) from error


def _not_in_url(address: Address, options: Mapping[str, Any]) -> dict[str, Any]:
    """What the URL says itself is not overruled."""
    return {name: value for name, value in options.items() if name not in address.url.query}


def _sqlite(address: Address) -> Engine:
    if address.file is not None:
        _make_folder(address.file.parent, address.shown)
    connect_args = _not_in_url(address, {"timeout": _LOCK_WAIT_S})
    engine = create_engine(address.url, hide_parameters=True, connect_args=connect_args)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions begin where `begin` says, not where the driver guesses
        cursor = connection.cursor()
        if cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")  # a publish that was told must outlive a power cut
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("millrace_write", True)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _make_folder(folder: Path, shown: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"opening the catalog {shown}: its folder can't be made: {error.strerror}: {error.filename}",
            hint="give this user the right to make it, or set MILLRACE_CATALOG to another place",
        ) from error
