"""`millrace serve` as a person starts it: workers on one port, one that crashes, the way out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from millrace.spec.settings import Settings
from tests.connectors.loads import people
from tests.servers.process import wait_until
from tests.serving.publishing import Publisher


@contextmanager
def millrace_serve(settings: Settings, *options: str) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """The command's process, and the addresses that it says it serves: of HTTP, and of gRPC where there is that."""
    env = {**os.environ, "MILLRACE_HOME": str(settings.home), "MILLRACE_CONNECTIONS": str(settings.connections_file)}
    command = [str(Path(sys.executable).with_name("millrace")), "serve", "--port", "0", "--without-permissions"]
    process = subprocess.Popen([*command, *options], env=env, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        addresses = [word for word in process.stdout.readline().split() if "://" in word]
        yield process, addresses[0], addresses[-1]
    finally:
        process.terminate()
        process.wait(60)
        assert process.stdout is not None
        process.stdout.close()


def workers_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/v1/kv/user_profile/1", timeout=30).status_code == 200
    except httpx.TransportError:
        return False


def test_workers_share_a_port_and_a_crashed_one_is_replaced(settings: Settings, publisher: Publisher) -> None:
    publisher.publish(people(10))
    with millrace_serve(settings, "--workers", "2", "--grpc-port", "0") as (process, url, _):
        assert answers(url)
        first = workers_of(process.pid)
        assert len(first) == 2
        os.kill(first[0], signal.SIGKILL)
        wait_until(lambda: len({*workers_of(process.pid)} - {*first}) == 1, "another worker")
        wait_until(lambda: all(answers(url) for _ in range(20)), "every connection to be served")
        wait_until(lambda: "millrace_http_connections" in httpx.get(f"{url}/metrics").text, "the numbers")
        process.terminate()
        assert process.wait(60) == 0
    assert not answers(url)


def test_a_server_says_that_it_leaves_while_it_still_answers(settings: Settings, publisher: Publisher) -> None:
    publisher.publish(people(10))
    with millrace_serve(settings, "--lame-duck", "600") as (process, url, _):
        assert httpx.get(f"{url}/readyz", timeout=30).status_code == 200
        process.terminate()
        wait_until(lambda: httpx.get(f"{url}/readyz", timeout=30).status_code == 503, "the word that it leaves")
        assert answers(url)
        for worker in workers_of(process.pid):
            os.kill(worker, signal.SIGKILL)
        assert process.wait(60) == 0


def test_workers_leave_with_their_supervisor(settings: Settings, publisher: Publisher) -> None:
    publisher.publish(people(10))
    with millrace_serve(settings) as (process, url, _):
        (worker,) = workers_of(process.pid)
        assert answers(url)
        process.kill()
        wait_until(lambda: not Path(f"/proc/{worker}/stat").exists(), "the worker to leave")
