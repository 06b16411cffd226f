"""The engine inside the server: one chdb on one path, with as many connections as there are requests.

chdb allows several connections of one process to its one engine; each has its own settings, current database and
temporary tables, and they run side by side (the GIL is released meanwhile). Opening one takes 0.2 ms. A connection on
which a query failed may still hold a part of that query's output, so that a request gets a connection of its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from millrace.connectors.clickhouse.server.statement import Statement

#: The database of requests that name none. chdb's own `default` is not of the engine Atomic, so its renames aren't.
DATABASE = "millrace"
_PIPE_BYTES = 1 << 20
_ERROR = re.compile(r"Code: (\d+)\. DB::Exception: ")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*", re.ASCII)
_UNKNOWN_SETTING, _BAD_ARGUMENTS, _ABORTED, _NOT_IMPLEMENTED = 115, 36, 236, 48
_KILL_EVERY_S = 0.2


class EngineError(Exception):
    """What ClickHouse says went wrong: its error code, and its text from `Code: N. DB::Exception:` on."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text

    @classmethod
    def of(cls, error: Exception) -> EngineError:
        """From chdb's RuntimeError, whose text may have the code twice."""
        text = str(error)
        found = list(_ERROR.finditer(text))
        if not found:
            code = _NOT_IMPLEMENTED if "does not support" in text else 1001
            return cls(code, f"Code: {code}. DB::Exception: {text.strip()}")
        repeated = len(found) > 1 and text[found[0].end() :].startswith(found[1].group())
        return cls(int(found[0].group(1)), text[(found[1] if repeated else found[0]).start() :].strip())

    @classmethod
    def make(cls, code: int, name: str, text: str) -> EngineError:
        return cls(code, f"Code: {code}. DB::Exception: {text}. ({name})")


@dataclass(frozen=True)
class Scope:
    """What surrounds a statement: its database, settings and bound parameters."""

    database: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Totals:
    """What a statement has read and written."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    elapsed_s: float = 0.0


class Engine:
    """Owns a path. Thread-safe. Raises OSError when another process has it."""

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self._lock_file = _lock(path)
        import chdb

        native: Any = chdb._chdb  # its Python layer holds results back until they are whole
        self._open = native.connect
        self.path = str(path)
        self._keeper = self._open(self.path)
        native.reset_signal_handlers()
        self._running = 0
        self._changed = threading.Condition()
        self._stopping = False
        self._keeper.query(f"CREATE DATABASE IF NOT EXISTS {DATABASE} ENGINE = Atomic")
        about = self._keeper.query("SELECT version(), timezone()", "TabSeparated").bytes().decode()
        self.version, self.timezone = about.strip().split("\t")

    @contextlib.contextmanager
    def statement(self) -> Iterator[None]:
        """While a statement runs. Raises EngineError (ABORTED) once the engine is being stopped."""
        with self._changed:
            if self._stopping:
                raise EngineError.make(_ABORTED, "ABORTED", "The server is shutting down")
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def open(self) -> Connection:
        """A connection of one's own, to be closed."""
        return Connection(self, self._open(self.path))

    def kill(self, condition: str) -> None:
        """Cancel the running statements that `condition`, over the columns of system.processes, picks."""
        link = self._open(self.path)
        with contextlib.closing(link), contextlib.suppress(RuntimeError):  # it may have ended by itself
            link.query(f"KILL QUERY WHERE {condition} ASYNC")

    def drain(self, grace_s: float) -> bool:
        """Let what runs end within `grace_s`, and cancel the rest; False when something still hangs then."""
        with self._changed:
            self._stopping = True
            ended = self._changed.wait_for(lambda: not self._running, grace_s)
        if not ended:
            self.kill("1")
            with self._changed:
                ended = self._changed.wait_for(lambda: not self._running, grace_s)
        return ended

    def close(self) -> None:
        """Close the path; every connection must be closed before."""
        self._keeper.close()
        self._lock_file.close()


class Connection:
    """One connection to the engine: one statement at a time."""

    def __init__(self, engine: Engine, link: Any) -> None:
        self._engine = engine
        self._link = link

    def close(self) -> None:
        self._link.close()

    def enter(self, scope: Scope) -> None:
        """Make a scope the one of all that follows. Raises EngineError for unknown databases and settings."""
        changes = {**scope.settings, **{f"param_{name}": value for name, value in scope.params.items()}}
        for name in changes:
            if not _NAME.fullmatch(name):
                raise EngineError.make(_UNKNOWN_SETTING, "UNKNOWN_SETTING", f"Unknown setting '{name}'")
        steps = [f"USE {quote_name(scope.database)}"] if scope.database else []
        if changes:
            steps.append("SET " + ", ".join(f"{name} = {quote_text(value)}" for name, value in changes.items()))
        if steps:
            self._query("; ".join(steps))

    def reset(self, names: Iterable[str], kept: Mapping[str, str]) -> None:
        """Put settings back to what they are in `kept`, or to their defaults."""
        back = [f"{name} = {quote_text(kept[name]) if name in kept else 'DEFAULT'}" for name in names]
        if back:
            self._query("SET " + ", ".join(back))

    def changed_settings(self) -> dict[str, str]:
        """Every setting that is not at its default."""
        rows = self._query("SELECT name, value FROM system.settings WHERE changed", "JSONCompactEachRow").bytes()
        return dict(map(json.loads, rows.splitlines()))

    def current_database(self) -> str:
        return str(self._query("SELECT currentDatabase()", "TabSeparatedRaw").bytes().decode().removesuffix("\n"))

    def command(self, text: str, form: str) -> tuple[bytes, Totals]:
        """Run a statement that gives little or no output; all of it."""
        result = self._query(_text(text), form)
        return result.bytes(), _totals(result)

    def output(self, statement: Statement, form: str, tag: str) -> Output:
        """Start a statement that gives rows; they come out of a pipe, in the statement's format or else in `form`."""
        return Output(self, statement, form, tag)

    def insert(self, statement: Statement, data: IO[bytes]) -> Totals:
        """Run an INSERT of all that is in a file, in the statement's format. Nothing is written when that is garbled.

        The data comes whole, so that a client that leaves in its middle inserts nothing; and from a file, because
        chdb's own `send_insert` loses errors of the table's side (26.9: a violated constraint counts as written).
        """
        data.flush()
        settings = f"{_text(statement.tail)}," if statement.tail else "SETTINGS"
        source = f"FROM INFILE '/dev/fd/{data.fileno()}' COMPRESSION 'none'"
        read = "storage_file_read_method = 'pread'"
        return _totals(self._query(f"{_text(statement.head)}\n{source} {settings} {read} FORMAT {statement.format}"))

    def kill(self, tag: str) -> None:
        self._engine.kill(f"Settings['log_comment'] = {quote_text(tag)}")

    def _query(self, text: str, form: str = "TabSeparated") -> Any:
        try:
            return self._link.query(text, form)
        except RuntimeError as error:
            self._link.query("SELECT 1 FORMAT Null")  # takes away what the failed one has left in the output buffer
            raise EngineError.of(error) from None


class Output:
    """The bytes of a running statement, from a pipe that the engine writes: however much it is, a MiB is in memory.

    chdb's own streams give a document of their own for each block, which can't be joined in formats with a header or
    a footer; `INTO OUTFILE` writes one. Read `descriptor` to its end, then ask `totals`.
    """

    def __init__(self, connection: Connection, statement: Statement, form: str, tag: str) -> None:
        self.format = statement.format or form
        self.descriptor, self._writer = os.pipe()
        with contextlib.suppress(OSError, AttributeError):  # the default size works too, slower
            fcntl.fcntl(self.descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._connection = connection
        self._tag = tag
        self._result: Any = None
        self._error: EngineError | None = None
        outfile = f"INTO OUTFILE '/dev/fd/{self._writer}' TRUNCATE COMPRESSION 'none' FORMAT {self.format}"
        self._statement = f"{_text(statement.head)}\n{outfile}{_text(statement.tail)}"
        self._thread = threading.Thread(target=self._run, name="statement", daemon=True)
        self._thread.start()

    def totals(self) -> Totals:
        """Wait for the end. Raises EngineError when the statement failed, however much it had written before."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return _totals(self._result)

    def cancel(self) -> None:
        """End the statement, as nobody wants its rows any more."""
        killed = 0.0
        os.set_blocking(self.descriptor, False)
        while self._thread.is_alive():
            if time.monotonic() - killed > _KILL_EVERY_S:
                self._connection.kill(self._tag)
                killed = time.monotonic()
            with contextlib.suppress(BlockingIOError):
                while os.read(self.descriptor, _PIPE_BYTES):
                    pass
            self._thread.join(0.01)

    def close(self) -> None:
        """Free the pipe; cancels what still runs."""
        if self._thread.is_alive():
            self.cancel()
        os.close(self.descriptor)

    def _run(self) -> None:
        try:
            self._result, self._error = self._connection._query(self._statement), None
        except EngineError as error:
            self._error = error
        finally:
            os.close(self._writer)


def quote_name(name: str) -> str:
    """An identifier as SQL."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def quote_text(text: str) -> str:
    """A string as SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _text(latin: str) -> str:
    """A statement is kept as Latin-1 (see `statement`); the engine takes UTF-8."""
    try:
        return latin.encode("latin-1").decode()
    except UnicodeDecodeError:
        raise EngineError.make(_BAD_ARGUMENTS, "BAD_ARGUMENTS", "The statement is not UTF-8") from None


def _totals(result: Any) -> Totals:
    return Totals(
        read_rows=result.storage_rows_read(),
        read_bytes=result.storage_bytes_read(),
        written_rows=result.rows_written(),
        written_bytes=result.bytes_written(),
        elapsed_s=result.elapsed(),
    )


def _lock(path: Path) -> Any:
    """Hold the path: a second engine on it would fail with a message that helps nobody."""
    file = (path / "millrace.lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise OSError(f"another process has opened {path}: only one may at a time") from None
    return file
