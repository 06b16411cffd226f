"""The process behind `millrace airflow up`: prepares the database, then keeps Airflow's three servers together.

    python -m millrace.dags.local.supervisor HOME FOLDER PORT

HOME holds `airflow.cfg`; FOLDER is where the servers run, so that relative paths in specs mean what they mean to the
commands; PORT is the API server's. A server that ends (on SQLite one may, by a locked database) is started again, a few
times; then all are ended. SIGTERM ends all of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from millrace.dags import launch

#: Tasks report to the API server, so there is no scheduler to start them before it answers.
FIRST = (("api-server",), ("dag-processor",))
THEN = ("scheduler", "--skip-serve-logs")
_MOST_STARTS = 6
_STOP_TIMEOUT_S = 25.0
_POLL_S = 0.2


class Supervisor:
    """Airflow's servers, started together and ended together."""

    def __init__(self, home: Path, folder: Path, port: int) -> None:
        self._port = port
        self._folder = folder
        self._environment = {
            **os.environ,
            "AIRFLOW_HOME": str(home),
            "PYTHONUNBUFFERED": "1",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        }
        self._servers: dict[str, subprocess.Popen[bytes]] = {}
        self._starts: dict[tuple[str, ...], int] = {}
        self._stopped = threading.Event()

    def run(self) -> int:
        """Run until a signal comes or a server keeps ending; the code to exit with."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        migrated = self._start("db", "migrate")
        code = self._wait(migrated)
        if code or self._stopped.is_set():
            return code
        try:
            return 0 if self._watch(FIRST, lambda: answers(self._port)) and self._watch((*FIRST, THEN)) else 1
        finally:
            self._end()

    def _stop(self, _number: int, _frame: object) -> None:
        self._stopped.set()

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-I", "-S", launch.__file__, str(os.getpid())]
        return subprocess.Popen(
            [*command, sys.executable, "-m", "airflow", *arguments],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _wait(self, process: subprocess.Popen[bytes]) -> int:
        while process.poll() is None:
            if self._stopped.is_set():
                process.terminate()
            time.sleep(_POLL_S)
        return process.returncode

    def _watch(self, commands: Sequence[tuple[str, ...]], until: Callable[[], bool] = lambda: False) -> bool:
        """Keep these servers running until it is time or a signal has come; False when one keeps ending."""
        while not self._stopped.is_set() and not until():
            for command in commands:
                server = self._servers.get(command[0])
                if server is not None and server.poll() is None:
                    continue
                if server is not None:
                    print(f"airflow {command[0]} has ended with code {server.returncode}", flush=True)
                self._starts[command] = self._starts.get(command, 0) + 1
                if self._starts[command] > _MOST_STARTS:
                    return False
                self._servers[command[0]] = self._start(*command)
            time.sleep(_POLL_S)
        return True

    def _end(self) -> None:
        """Ask every server to end, then kill what is left of each one's group."""
        for server in self._servers.values():
            server.terminate()
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        for server in self._servers.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(max(0.1, deadline - time.monotonic()))
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def answers(port: int) -> bool:
    """Whether an API server is there, whatever its parts say of themselves."""
    return bool(health(port))


def health(port: int) -> Mapping[str, Any]:
    """What the API server says of the database, the scheduler and the DAG processor; empty while it doesn't answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v2/monitor/health", timeout=5) as answer:
            found: Mapping[str, Any] = json.load(answer)
            return found
    except (OSError, ValueError):
        return {}


if __name__ == "__main__":
    sys.exit(Supervisor(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])).run())
