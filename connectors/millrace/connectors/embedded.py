"""Servers that millrace starts itself, on this machine, so that a first try needs no store: one each for a home folder.

    HOME/embedded/NAME/data/        what the server keeps; stays when it is stopped
    HOME/embedded/NAME/server.log   what it said; the one before is server.log.1
    HOME/embedded/NAME/server.json  pid, start time and port of the process
    HOME/embedded/NAME/lock         held while somebody starts or stops it

A server is detached: it outlives the command that started it, and every later command, worker and reader uses the same
one. It listens on 127.0.0.1 only, and gets the port that it had before whenever that is still free.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from millrace.connectors import embedded_process
from millrace.errors import TargetError, TransientError

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0
_POLL_S = 0.01
_LOG_BYTES_KEPT = 10 << 20
_LOG_LINES_SHOWN = 5
_STARTS = 3

#: Servers that this very process has started: they are its children, and must be reaped when they end.
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class EmbeddedServer:
    """How to start one kind of server.

    `command(data_folder, port)` is the program and its arguments: it must listen on 127.0.0.1:`port`, stay in the
    foreground, keep its data in `data_folder` (which exists) and end cleanly on SIGTERM. `ready(port)` says whether it
    answers; it is asked again and again, and must return False, not raise, while it doesn't.
    """

    name: str
    command: Callable[[Path, int], Sequence[str]]
    ready: Callable[[int], bool]
    start_timeout_s: float = START_TIMEOUT_S


@dataclass(frozen=True)
class Status:
    """One embedded server of a home folder. `pid` is None when it isn't running; `port` is its last one."""

    name: str
    port: int
    pid: int | None
    data: Path
    log: Path


def ensure(server: EmbeddedServer, home: Path, port: int = 0) -> int:
    """The port of the running server, which is started first when it isn't running. Ready when this returns.

    It is started on `port` where that is free, by default on the one that it had before. Safe to call from several
    processes at once: one starts the server, the others wait for it. Raises TargetError with the last lines of its log
    when it can't be started, TransientError when it takes longer than its `start_timeout_s`.
    """
    folder = _folder(home, server.name)
    (folder / "data").mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        known = _read(folder)
        if known is not None and known.pid is not None and _wait_until_ready(server, known, folder, last=False):
            return known.port
        for attempt in range(_STARTS):
            wanted = port or (known.port if known is not None else 0)
            started = _start(server, folder, _free_port(wanted if attempt == 0 else 0))
            if _wait_until_ready(server, started, folder, last=attempt == _STARTS - 1):
                return started.port
    raise AssertionError("unreachable: the last attempt raises")


def stop(name: str, home: Path) -> bool:
    """Stop a server and wait until it has ended, by force after 60 s; False when it wasn't running. Keeps its data."""
    folder = _folder(home, name)
    if not folder.is_dir():
        return False
    with _locked(folder):
        known = _read(folder)
        if known is None or known.pid is None:
            return False
        with _handle(known.pid) as send:
            if _read(folder) != known:  # it ended between the first look and the handle: the pid may be another's now
                return False
            send(signal.SIGTERM)
            if not _ended_within(folder, STOP_TIMEOUT_S):
                send(signal.SIGKILL)
                _ended_within(folder, STOP_TIMEOUT_S)
    return True


def status(home: Path) -> list[Status]:
    """Every server that was ever started in this home folder, running or not, by name."""
    folders = sorted(path.parent for path in (home / "embedded").glob("*/server.json"))
    return [found for found in map(_read, folders) if found is not None]


def _folder(home: Path, name: str) -> Path:
    return home.absolute() / "embedded" / name


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    deadline = time.monotonic() + START_TIMEOUT_S + STOP_TIMEOUT_S
    with (folder / "lock").open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TransientError(
                        f"waited {START_TIMEOUT_S + STOP_TIMEOUT_S:.0f} s for the lock {file.name}",
                        hint="another millrace process starts or stops this server and hangs: end it, and try again",
                    ) from None
                time.sleep(_POLL_S)
        yield


def _read(folder: Path) -> Status | None:
    """The recorded server, with `pid` only while the very process that was recorded lives; None: never started."""
    try:
        record = json.loads((folder / "server.json").read_text())
    except FileNotFoundError:
        return None
    pid = int(record["pid"])
    child = _children.get(pid)
    if child is not None and child.poll() is not None:
        del _children[pid]
    alive = embedded_process.identity(pid) == record["started"]
    return Status(folder.name, int(record["port"]), pid if alive else None, folder / "data", folder / "server.log")


def _start(server: EmbeddedServer, folder: Path, port: int) -> Status:
    log = folder / "server.log"
    if log.exists() and log.stat().st_size > _LOG_BYTES_KEPT:
        log.replace(log.with_suffix(".log.1"))
    record = folder / "server.json"
    launcher = [sys.executable, "-I", "-S", embedded_process.__file__, str(record), str(port)]
    command = [*launcher, *server.command(folder / "data", port)]
    with log.open("ab") as output:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder, start_new_session=True
        )
    _children[child.pid] = child
    return Status(server.name, port, child.pid, folder / "data", log)


def _wait_until_ready(server: EmbeddedServer, known: Status, folder: Path, *, last: bool) -> bool:
    """True once the server answers; False when it has ended, which is an error when this was the `last` try."""
    deadline = time.monotonic() + server.start_timeout_s
    while time.monotonic() < deadline:
        if server.ready(known.port):
            return True
        if not _alive(known, folder):
            if not last:
                return False
            raise TargetError(
                f"the embedded {server.name} server ended as soon as it was started: {_last_words(known.log)}",
                hint=f"its whole log is {known.log}",
            )
        time.sleep(_POLL_S)
    raise TransientError(
        f"the embedded {server.name} server (pid {known.pid}) doesn't answer on port {known.port}"
        f" after {server.start_timeout_s:.0f} s: {_last_words(known.log)}",
        hint=f"its whole log is {known.log}; `millrace embedded down` ends it, the next run starts it again",
    )


def _alive(known: Status, folder: Path) -> bool:
    child = _children.get(known.pid) if known.pid is not None else None
    if child is not None:
        return child.poll() is None
    return _read(folder) == known


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return " | ".join(line.strip() for line in lines[-_LOG_LINES_SHOWN:]) or "it wrote no log"


def _ended_within(folder: Path, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        known = _read(folder)
        if known is None or known.pid is None:
            return True
        time.sleep(_POLL_S)
    return False


@contextlib.contextmanager
def _handle(pid: int) -> Iterator[Callable[[signal.Signals], None]]:
    """Signals for exactly this process: where the system has process handles, never for a later one of its pid."""
    if not hasattr(os, "pidfd_open"):
        yield lambda number: os.kill(pid, number)
        return
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        yield lambda _number: None
        return
    try:
        yield lambda number: _send(descriptor, number)
    finally:
        os.close(descriptor)


def _send(descriptor: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended by itself meanwhile, which is what was wanted
        signal.pidfd_send_signal(descriptor, number)


def _free_port(wanted: int) -> int:
    """`wanted` when it can be had, else any free port."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return int(probe.getsockname()[1])
    raise TransientError("no free port on 127.0.0.1", hint="too many connections are open on this machine; try again")
