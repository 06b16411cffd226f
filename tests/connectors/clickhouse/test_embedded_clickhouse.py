"""The ClickHouse that millrace starts itself."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace.connectors import embedded
from millrace.connectors.clickhouse.embedded import is_ready, password_of
from millrace.connectors.clickhouse.endpoint import endpoint_of
from millrace.connectors.clickhouse.link import Link
from millrace.spec.connection import Connection
from tests.connectors.clickhouse.stores import ASSET, publish, target, version
from tests.connectors.loads import people
from tests.servers.process import free_port


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    embedded.stop("clickhouse", tmp_path)


def connection(home: Path) -> Connection:
    return Connection("embedded", "embedded", params={"home": str(home)})


def test_it_starts_when_it_is_needed_and_keeps_its_data(home: Path) -> None:
    store = target(connection(home), order_by=("id",))
    store.check(version("v1", people(1)).columns)
    publish(store, "v1", people(10))
    store.close()
    assert embedded.stop("clickhouse", home)
    again = target(connection(home), order_by=("id",))
    assert again.current(ASSET) == "v1"
    again.close()


def test_only_who_can_read_its_password_gets_in(home: Path) -> None:
    endpoint = endpoint_of(connection(home))
    file = home / "embedded" / "clickhouse" / "password"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert endpoint.password.value not in str(endpoint) + repr(endpoint)
    link = Link(endpoint)
    assert link.rows("asking", "SELECT currentDatabase()")[0][0] == "millrace"
    link.close()
    assert os.system(f"ps -o args= -p {embedded.status(home)[0].pid} | grep -qF '{endpoint.password.value}'") != 0


def test_its_password_is_made_once(tmp_path: Path) -> None:
    made: set[str] = set()
    threads = [threading.Thread(target=lambda: made.add(password_of(tmp_path).value)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == {password_of(tmp_path).value}
    assert [path.name for path in (tmp_path / "embedded" / "clickhouse").iterdir()] == ["password"]


def test_nothing_answers_where_nothing_runs() -> None:
    assert not is_ready(free_port())
