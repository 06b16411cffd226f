"""A real server of a test: its own folder and free ports on 127.0.0.1, and no trace of it afterwards.

    class Echo(ServerProcess):
        name = "echo"

        def command(self) -> Sequence[str]:
            return [str(program("echo-server", package="echo-server")), "--port", str(self.port)]

    with Echo() as server:
        connect(server.port)

Life: `__init__` makes the folder and takes the port; `start` calls `prepare` once, then runs `command` and waits until
`ready`; `kill`, `pause`, `resume` and `restart` are for tests of failures; `stop` ends the server and removes its
folder. A start that fails shows the end of the server's log. The kernel kills the server when the thread that started
it ends (PR_SET_PDEATHSIG), so start servers from the main thread; a folder that a killed pytest has left is removed
by the next one.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO, ClassVar, Self

HOST = "127.0.0.1"
_FOLDER_PREFIX = "millrace-server-"
_PORTS = range(10_000, 32_000)  # below the ports that Linux gives to outgoing connections
_LOG_TAIL_CHARACTERS = 4000
_given_ports: set[int] = set()


class ServerError(Exception):
    """A server that can't be found, started or stopped. The message shows the end of its log."""


class ServerProcess(ABC):
    """One server process. Usable as a context manager; after `stop` it can't be started again."""

    name: ClassVar[str]
    #: Runs the server when the tests run as root, for servers that refuse root.
    system_user: ClassVar[str | None] = None
    start_timeout_s: ClassVar[float] = 60.0
    stop_timeout_s: ClassVar[float] = 20.0
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    host: ClassVar[str] = HOST

    def __init__(self) -> None:
        _sweep()
        self.port = free_port()
        self._lock_file, self.folder = _owned_folder(self.name)
        self.log = self.folder / f"{self.name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._prepared = False
        if self.system_user is not None and self._switches_user():
            shutil.chown(self.folder, self.system_user)

    @abstractmethod
    def command(self) -> Sequence[str]:
        """The server's command line; it must stay in the foreground."""

    def environment(self) -> Mapping[str, str]:
        """What is added to this process's own environment."""
        return {}

    def prepare(self) -> None:
        """Make data folders and configuration files, once before the first start. Use `run` for commands."""

    def ready(self) -> bool:
        """Whether the server answers. May raise OSError for "not yet"."""
        with socket.create_connection((HOST, self.port), timeout=1):
            return True

    @property
    def pid(self) -> int:
        """Raises ServerError when the server isn't running."""
        if self._process is None or self._process.poll() is not None:
            raise ServerError(f"{self.name} is not running\n{self.log_tail()}")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start and wait until ready. Raises ServerError with the end of the log; nothing is left running then."""
        if self.running:
            raise ServerError(f"{self.name} is running already, as process {self.pid}")
        try:
            if not self._prepared:
                self.prepare()
                self._prepared = True
            self._spawn()
            wait_until(self._is_up, f"{self.name} to start", self.start_timeout_s, self.log_tail)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End the server and remove its folder. A second call does nothing."""
        try:
            self._end(self.stop_signal)
        finally:
            self._lock_file.close()
            shutil.rmtree(self.folder, ignore_errors=True)
            _given_ports.discard(self.port)

    def kill(self) -> None:
        """SIGKILL, as when the power goes; the data stays for a `start` or `restart`."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP to the server and its children: connections stay open, and nothing answers."""
        self._signal_family(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal_family(signal.SIGCONT)

    def restart(self) -> None:
        """End it (if it runs) and start it on the same port and data."""
        self._end(self.stop_signal)
        self.start()

    def log_tail(self) -> str:
        """The last lines of the server's output."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return f"--- end of the log of {self.name}:\n{text[-_LOG_TAIL_CHARACTERS:]}"

    def run(self, *command: str | Path, stdin: str = "") -> str:
        """Run a command as the server's user and give its output. Raises ServerError with both of its outputs."""
        done = subprocess.run(
            [*self._wrapper(), *map(str, command)],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            env={**os.environ, **self.environment()},
        )
        if done.returncode:
            words = " ".join(map(str, command))
            raise ServerError(f"{words} ended with code {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def __enter__(self) -> Self:
        return self if self.running else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _spawn(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._wrapper(), "--pdeathsig", "KILL", *self.command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={**os.environ, **self.environment()},
                start_new_session=True,  # Ctrl-C is for pytest alone
            )
        atexit.register(self.stop)

    def _is_up(self) -> bool:
        if not self.running:
            assert self._process is not None
            raise ServerError(f"{self.name} ended with code {self._process.returncode}\n{self.log_tail()}")
        try:
            return self.ready()
        except OSError:
            return False

    def _end(self, first_signal: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        atexit.unregister(self.stop)
        children = _handles(descendants(process.pid))
        try:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.send_signal(first_signal)
                process.wait(self.stop_timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        finally:
            for child in children:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(child, signal.SIGKILL)
                os.close(child)

    def _signal_family(self, number: signal.Signals) -> None:
        for pid in [self.pid, *descendants(self.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _switches_user(self) -> bool:
        return self.system_user is not None and os.geteuid() == 0

    def _wrapper(self) -> list[str]:
        """setpriv, which changes the user where that is needed and then becomes the command."""
        if not self._switches_user():
            return ["setpriv"]
        assert self.system_user is not None
        try:
            account = pwd.getpwnam(self.system_user)
        except KeyError as error:
            raise ServerError(
                f"there is no user {self.system_user} to run {self.name} as; run scripts/setup"
            ) from error
        return ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--init-groups"]


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on and that this process has not given out yet."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            if port not in _given_ports:
                _given_ports.add(port)
                return port


def program(name: str, *folders: str, package: str) -> Path:
    """The program `name` in one of `folders` (globs; the last match wins) or on the PATH.

    Raises ServerError that says where it looked and which Debian package brings it.
    """
    for folder in folders:
        found = sorted(path for path in Path("/").glob(f"{folder.lstrip('/')}/{name}") if os.access(path, os.X_OK))
        if found:
            return found[-1]
    on_path = shutil.which(name)
    if on_path:
        return Path(on_path)
    places = ", ".join([*folders, "the PATH"])
    raise ServerError(f"the program {name} is not there (looked in {places}); scripts/setup installs {package}")


def wait_until(
    condition: Callable[[], bool],
    what: str,
    timeout_s: float = 30.0,
    detail: Callable[[], str] = lambda: "",
    every_s: float = 0.02,
) -> None:
    """Ask until `condition` holds. Raises ServerError naming `what`, with `detail()`, after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise ServerError(f"waited {timeout_s:.0f} s for {what}\n{detail()}")
        time.sleep(every_s)


def _owned_folder(name: str) -> tuple[IO[bytes], Path]:
    """A new folder, and a lock file in it that this process holds open as long as the folder is in use."""
    folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDER_PREFIX}{name}-"))
    draft = folder / ".lock.new"
    lock_file = draft.open("wb")
    fcntl.flock(lock_file, fcntl.LOCK_EX)
    draft.rename(folder / ".lock")  # seen by `_sweep` only when it is locked
    return lock_file, folder


@cache
def _sweep() -> None:
    """Remove the folders of processes that were killed before they could."""
    for lock in Path(tempfile.gettempdir()).glob(f"{_FOLDER_PREFIX}*/.lock"):
        with contextlib.suppress(OSError), lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent, ignore_errors=True)


def _handles(pids: Sequence[int]) -> list[int]:
    """A pidfd of each process that is still there: it never means another process, as a number could."""
    found = []
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            found.append(os.pidfd_open(pid))
    return found


def descendants(pid: int) -> list[int]:
    """The processes below one."""
    found: list[int] = []
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, listing.read_text().split()):
                found += [child, *descendants(child)]
    return found
