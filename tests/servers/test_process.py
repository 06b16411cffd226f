"""How the servers of the tests start, fail and end."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.servers.process import HOST, ServerError, ServerProcess, program, wait_until

_LISTEN = "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep(600)"


class Listener(ServerProcess):
    """The smallest server: it listens."""

    name = "listener"

    def command(self) -> Sequence[str]:
        return [sys.executable, "-c", _LISTEN, str(self.port)]


class Parent(ServerProcess):
    """A server with a child that has left its session."""

    name = "parent"

    def command(self) -> Sequence[str]:
        code = f"import subprocess; subprocess.Popen(['sleep', '600'], start_new_session=True); {_LISTEN}"
        return [sys.executable, "-c", code, str(self.port)]


class Broken(ServerProcess):
    name = "broken"

    def command(self) -> Sequence[str]:
        return ["sh", "-c", "echo 'no such option: --frobnicate' >&2; exit 3"]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def _is_gone(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_server_is_ready_after_its_start_and_leaves_nothing() -> None:
    with Parent() as server:
        assert _listens(server.port)
        pid, folder, child = server.pid, server.folder, _children(server.pid)[0]
    assert _is_gone(pid)
    wait_until(lambda: _is_gone(child), "the child to end")
    assert not folder.exists()


def test_a_start_that_fails_shows_the_log_and_leaves_nothing() -> None:
    server = Broken()
    with pytest.raises(ServerError, match=r"(?s)broken ended with code 3.*no such option: --frobnicate"):
        server.start()
    assert not server.folder.exists()


def test_a_killed_server_comes_back_on_its_port() -> None:
    with Listener() as server:
        pid = server.pid
        server.kill()
        assert _is_gone(pid)
        assert not server.running
        server.restart()
        assert server.pid != pid
        assert _listens(server.port)


def test_a_paused_server_stands_still_until_it_resumes() -> None:
    with Listener() as server:
        stat = Path(f"/proc/{server.pid}/stat")
        server.pause()
        wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", "the server to stand still")
        server.resume()
        wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "S", "the server to go on")
        server.pause()  # a paused server can be stopped as well


def test_processes_that_outlive_the_tests_are_found_and_killed() -> None:
    code = """
import subprocess
from tests.servers.leftovers import end_leftovers, mark_session
mark_session()
print(subprocess.Popen(["sleep", "601"], start_new_session=True).pid)  # it runs sleep when Popen returns
print(end_leftovers(grace_s=0), end_leftovers(), flush=True)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    pid, found = done.stdout.splitlines()
    assert found == "['sleep 601'] []"
    assert _is_gone(int(pid))


def test_a_missing_program_is_an_error_that_names_its_package() -> None:
    with pytest.raises(
        ServerError, match=r"no-such-server is not there .*/opt/\*/bin, the PATH.*installs some-package"
    ):
        program("no-such-server", "/opt/*/bin", package="some-package")


@pytest.mark.parametrize("kind", ["process.Listener", "mariadb.MariaDb", "postgres.Postgres", "redis.RedisServer"])
def test_a_killed_pytest_leaves_no_server_and_the_next_removes_its_folder(kind: str) -> None:
    module, _, name = kind.replace("process.", "test_process.").rpartition(".")
    code = (
        f"from tests.servers.{module} import {name}; server = {name}().start(); "
        "print(server.pid, server.folder, flush=True); input()"
    )
    starter = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert starter.stdin is not None
    assert starter.stdout is not None
    with starter:
        pid, folder = starter.stdout.readline().split()
        assert not _is_gone(int(pid))
        starter.send_signal(signal.SIGKILL)
        starter.wait()
    wait_until(lambda: _is_gone(int(pid)), f"{kind} to end")
    subprocess.run([sys.executable, "-c", "from tests.servers.test_process import Listener; Listener()"], check=True)
    assert not Path(folder).exists()
