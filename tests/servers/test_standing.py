"""`scripts/servers`: what docs/servers.md says of it is so."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from millrace.connectors.embedded_process import identity
from millrace.spec.connection import resolve
from tests.docs.expected import examples, match
from tests.docs.pages import ROOT, pages
from tests.servers.offers import OFFERS
from tests.servers.process import free_port, wait_until

PAGE = next(page for page in pages() if page.name == "docs/servers.md")

Servers = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    """The command with a folder of its own, and nothing left running."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tests.servers.standing", *words, "--folder", str(tmp_path / "standing")]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    yield run
    run("down")


def states(servers: Servers, *names: str) -> Mapping[str, Mapping[str, Any]]:
    return {state["name"]: state for state in json.loads(servers("status", *names, "--json").stdout)}


def connection_names(found: object) -> Iterator[str]:
    if isinstance(found, Mapping):
        for key, value in found.items():
            if key == "connection":
                yield value
            else:
                yield from connection_names(value)
    elif isinstance(found, Sequence) and not isinstance(found, str):
        for item in found:
            yield from connection_names(item)


def test_the_page_shows_what_the_command_prints(tmp_path: Path, servers: Servers) -> None:
    for block in PAGE.blocks:
        for example in examples(block.text) if block.kind == "console" else ():
            script, *words = example.command.split()
            assert script == "scripts/servers"
            ran = servers(*words)
            assert ran.returncode == example.exit_code, ran.stderr
            shown = example.output.replace(".cache/standing", f"{tmp_path.name}/standing")
            assert match(shown, ran.stdout, {}) is not None, ran.stdout


def test_the_page_names_every_server_with_its_connections() -> None:
    listed = {cells[0].strip("`"): cells[1].strip("`") for cells in PAGE.table("server")}
    assert listed == {name: ", ".join(offer.connections) for name, offer in OFFERS.items()}


@pytest.mark.parametrize("spec", sorted((ROOT / "specs").glob("*.yaml")), ids=lambda path: path.stem)
def test_example_specs_find_their_connections(spec: Path) -> None:
    offered = {name for offer in OFFERS.values() for name in offer.connections}
    assert set(connection_names(yaml.safe_load(spec.read_text()))) <= offered


def test_up_twice_is_harmless_and_down_ends_only_its_own(tmp_path: Path, servers: Servers) -> None:
    port = free_port()
    with redis.Redis(port=port) as client:
        assert servers("up", f"redis={port}").returncode == 0
        client.set("key", "value")
        first = states(servers, "redis")["redis"]
        assert servers("up", "redis").returncode == 0
        again = states(servers, "redis")["redis"]
        assert again == first
        assert client.get("key") == b"value"
        file = tmp_path / "standing/connections.yaml"
        assert resolve("redis_online", {}, file).port == port
        assert file.stat().st_mode & 0o077 == 0
        assert servers("down", "kafka").stdout == "none of them was running\n"
        assert client.ping()
        assert servers("down", "redis").stdout == "ended: redis\n"
    assert [identity(pid) for pid in first["pids"]] == [None]
    assert yaml.safe_load(file.read_text()) == {}


def test_a_server_that_is_killed_is_told_and_comes_back(servers: Servers) -> None:
    servers("up", "redis")
    (pid,) = states(servers, "redis")["redis"]["pids"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: states(servers, "redis")["redis"]["state"] == "ended", "the death to be noted", 60, every_s=0.2)
    assert servers("up", "redis").returncode == 0
    assert states(servers, "redis")["redis"]["state"] == "healthy"


def test_a_server_that_cannot_start_says_why(servers: Servers) -> None:
    port = free_port()
    servers("up", f"redis={port}")
    refused = servers("up", f"clickhouse={port}")
    assert refused.returncode == 1
    assert "servers: clickhouse did not start" in refused.stderr
    assert "in use" in refused.stderr
    assert states(servers, "redis", "clickhouse")["clickhouse"]["state"] == "down"


def test_a_name_that_is_none_is_refused_with_those_that_there_are(servers: Servers) -> None:
    refused = servers("up", "mongodb")
    assert refused.returncode == 2
    assert "there is no server 'mongodb'; there are mariadb, redis" in refused.stderr
