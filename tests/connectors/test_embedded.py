"""Embedded servers: started once, shared, found again, never confused with another process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from millrace.connectors import embedded_process
from millrace.connectors.embedded import EmbeddedServer, ensure, status, stop
from millrace.errors import TargetError

ECHO_PID = """
import os, signal, socket, sys
def end(*_):
    sys.exit(open(sys.argv[2] + "/ended", "w").close())
signal.signal(signal.SIGTERM, signal.SIG_IGN if "deaf" in sys.argv else end)
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    link, _ = server.accept()
    link.sendall(str(os.getpid()).encode())
    link.close()
"""


def answer(port: int) -> int | None:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as link:
            return int(link.recv(100))
    except (OSError, ValueError):
        return None


def echo_command(data: Path, port: int) -> Sequence[str]:
    return [sys.executable, "-I", "-S", "-c", ECHO_PID, str(port), str(data)]


SERVER = EmbeddedServer("echo", echo_command, lambda port: answer(port) is not None)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    stop("echo", tmp_path)


def test_a_server_is_started_once_and_used_by_everyone(home: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        ports = set(pool.map(lambda _: ensure(SERVER, home), range(16)))
    assert len(ports) == 1
    assert [s.pid for s in status(home)] == [answer(ports.pop())]


def test_another_process_finds_the_running_server(home: Path) -> None:
    port = ensure(SERVER, home)
    code = "from tests.connectors.test_embedded import *; print(ensure(SERVER, Path(sys.argv[1])))"
    found = subprocess.run([sys.executable, "-c", code, str(home)], capture_output=True, text=True, check=True)
    assert int(found.stdout) == port


def test_a_server_outlives_the_process_that_started_it(home: Path) -> None:
    code = "from tests.connectors.test_embedded import *; print(ensure(SERVER, Path(sys.argv[1])))"
    started = subprocess.run([sys.executable, "-c", code, str(home)], capture_output=True, text=True, check=True)
    assert answer(int(started.stdout)) == status(home)[0].pid


def test_stop_ends_the_server_cleanly_and_keeps_its_data(home: Path) -> None:
    port = ensure(SERVER, home)
    assert stop("echo", home)
    assert answer(port) is None
    assert (home / "embedded" / "echo" / "data" / "ended").exists()
    assert status(home)[0].pid is None


def test_stopping_what_does_not_run_is_no_error(home: Path) -> None:
    assert not stop("echo", home)
    ensure(SERVER, home)
    assert stop("echo", home)
    assert not stop("echo", home)


def test_a_restarted_server_gets_the_port_that_it_had(home: Path) -> None:
    port = ensure(SERVER, home)
    stop("echo", home)
    assert ensure(SERVER, home) == port


def test_a_taken_port_is_left_alone(home: Path) -> None:
    port = ensure(SERVER, home)
    stop("echo", home)
    with socket.create_server(("127.0.0.1", port)):
        assert ensure(SERVER, home) != port


def test_a_killed_server_is_started_again(home: Path) -> None:
    first = answer(ensure(SERVER, home))
    assert first is not None
    os.kill(first, signal.SIGKILL)
    second = answer(ensure(SERVER, home))
    assert second not in (None, first)


def test_a_process_that_only_has_the_same_pid_is_never_signalled(home: Path) -> None:
    ensure(SERVER, home)
    stop("echo", home)
    record = home / "embedded" / "echo" / "server.json"
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        record.write_text(json.dumps(json.loads(record.read_text()) | {"pid": bystander.pid}))
        assert status(home)[0].pid is None
        assert not stop("echo", home)
        assert bystander.poll() is None
    finally:
        bystander.communicate(b"\n")


def test_a_server_that_ignores_sigterm_is_killed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millrace.connectors.embedded.STOP_TIMEOUT_S", 0.3)
    port = ensure(EmbeddedServer("echo", lambda *to: [*echo_command(*to), "deaf"], SERVER.ready), home)
    assert stop("echo", home)
    assert answer(port) is None


def test_a_server_that_cannot_start_shows_its_last_words(home: Path) -> None:
    broken = EmbeddedServer("echo", lambda *_: [sys.executable, "-c", "raise SystemExit('no such disk')"], SERVER.ready)
    with pytest.raises(TargetError, match=r"embedded echo server ended .* no such disk"):
        ensure(broken, home)


def test_a_program_that_does_not_exist_is_a_clear_error(home: Path) -> None:
    with pytest.raises(TargetError, match="no-such-program"):
        ensure(EmbeddedServer("echo", lambda *_: ["no-such-program"], SERVER.ready), home)


def test_a_starter_killed_while_it_waits_leaves_a_server_that_the_next_one_finds(home: Path) -> None:
    code = (
        "from tests.connectors.test_embedded import *\n"
        "ensure(EmbeddedServer('echo', echo_command, lambda _: False), Path(sys.argv[1]))"
    )
    starter = subprocess.Popen([sys.executable, "-c", code, str(home)])
    while not status(home):
        time.sleep(0.01)
        assert starter.poll() is None
    orphan = status(home)[0].pid
    starter.kill()
    starter.wait()
    assert answer(ensure(SERVER, home)) == orphan


def test_identity_of_a_zombie_is_none() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.read()
    ended = threading.Event()
    while embedded_process.identity(child.pid) is not None:
        ended.wait(0.01)
    child.wait()


def test_identity_of_a_living_process_stays() -> None:
    assert embedded_process.identity(os.getpid()) == embedded_process.identity(os.getpid()) is not None
