"""Sessions of the HTTP interface: connections that are kept between requests, with temporary tables and settings."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from millrace.connectors.clickhouse.server.engine import DATABASE, Connection, Engine, EngineError, Scope

_SESSION_IS_LOCKED, _SESSION_NOT_FOUND = 373, 372
_SWEEP_EVERY_S = 10.0
_LONGEST_WAIT_S = 1.0


@dataclass
class _Session:
    connection: Connection
    database: str = DATABASE
    settings: dict[str, str] = field(default_factory=dict)
    expires_at: float = 0.0
    busy: threading.Lock = field(default_factory=threading.Lock)


class Sessions:
    """Gives each request its connection: the one of its session, or a new one. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sessions: dict[str, _Session] = {}
        self._lock = threading.Lock()
        self._swept_at = 0.0

    @contextlib.contextmanager
    def connection(self, scope: Scope, session_id: str, *, timeout_s: float, check: bool) -> Iterator[Connection]:
        """A connection within `scope`.

        Raises EngineError when the session runs another statement now, or when there is none and `check` is set.
        """
        with self._engine.statement():
            if session_id:
                with self._session(scope, session_id, timeout_s=timeout_s, check=check) as connection:
                    yield connection
                return
            with contextlib.closing(self._engine.open()) as connection:
                connection.enter(replace(scope, database=scope.database or DATABASE))
                yield connection

    def remember(self, session_id: str, first: str, scope: Scope) -> None:
        """After a USE or SET in a session (`first` is its first word): it holds for the requests that follow."""
        session = self._sessions.get(session_id)
        if session is None:
            return
        if first == "USE":
            session.database = session.connection.current_database()
        elif first == "SET":
            now = session.connection.changed_settings()
            session.settings = {name: value for name, value in now.items() if scope.settings.get(name) != value}

    def close(self, session_id: str = "") -> None:
        """End a session, or all that are not busy."""
        with self._lock:
            for name in [session_id] if session_id else list(self._sessions):
                self._end(name)

    @contextlib.contextmanager
    def _session(self, scope: Scope, session_id: str, *, timeout_s: float, check: bool) -> Iterator[Connection]:
        session = self._take(session_id, check=check)
        try:
            session.connection.enter(replace(scope, database=scope.database or session.database))
            try:
                yield session.connection
            finally:
                session.connection.reset(scope.settings, session.settings)
        finally:
            session.expires_at = time.monotonic() + timeout_s
            session.busy.release()

    def _take(self, session_id: str, *, check: bool) -> _Session:
        """The session, for this request alone. Its last answer may be out while it still puts its settings back."""
        while True:
            session = self._find(session_id, check=check)
            if not session.busy.acquire(timeout=_LONGEST_WAIT_S):
                text = f"Session {session_id} is locked by a concurrent client"
                raise EngineError.make(_SESSION_IS_LOCKED, "SESSION_IS_LOCKED", text)
            if self._sessions.get(session_id) is session:
                return session
            session.busy.release()  # it has ended meanwhile

    def _find(self, session_id: str, *, check: bool) -> _Session:
        with self._lock:
            self._sweep()
            session = self._sessions.get(session_id)
            if session is None:
                if check:
                    raise EngineError.make(_SESSION_NOT_FOUND, "SESSION_NOT_FOUND", "Session not found")
                session = _Session(self._engine.open())
                session.expires_at = time.monotonic() + _SWEEP_EVERY_S
                self._sessions[session_id] = session
            return session

    def _sweep(self) -> None:
        now = time.monotonic()
        if now - self._swept_at < _SWEEP_EVERY_S:
            return
        self._swept_at = now
        for name, session in list(self._sessions.items()):
            if session.expires_at < now:
                self._end(name)

    def _end(self, session_id: str) -> None:
        session = self._sessions.get(session_id)
        if session is not None and session.busy.acquire(blocking=False):
            del self._sessions[session_id]
            session.connection.close()
            session.busy.release()
