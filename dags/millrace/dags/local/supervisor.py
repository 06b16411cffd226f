"""The process behind `millrace airflow up`: prepares the database, then keeps Airflow's three servers together.

    python -m millrace.dags.local.supervisor HOME FOLDER PORT

HOME holds `airflow.cfg`; FOLDER is where the servers run, so that relative paths in specs mean what they mean to the
commands; PORT is the API server's. When one server ends the others are ended too. SIGTERM ends all of them.
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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from millrace.dags import launch

#: Tasks report to the API server, so there is no scheduler to start them before it answers.
FIRST = (("api-server",), ("dag-processor",))
THEN = ("scheduler", "--skip-serve-logs")
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
        self._stopped = threading.Event()

    def run(self) -> int:
        """Run until a signal comes or a server ends; the code to exit with."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        migrated = self._start("db", "migrate")
        code = self._wait(migrated)
        if code or self._stopped.is_set():
            return code
        try:
            for command in FIRST:
                self._servers[command[0]] = self._start(*command)
            while not self._stopped.is_set() and not answers(self._port) and not self._has_ended():
                time.sleep(_POLL_S)
            if not self._stopped.is_set():
                self._servers[THEN[0]] = self._start(*THEN)
            return self._watch()
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

    def _watch(self) -> int:
        while not self._stopped.is_set():
            if self._has_ended():
                return 1
            time.sleep(_POLL_S)
        return 0

    def _has_ended(self) -> bool:
        for name, server in self._servers.items():
            if server.poll() is not None:
                print(f"airflow {name} has ended with code {server.returncode}", flush=True)
                return True
        return False

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
