"""Whole runs into HBase: the example spec from its source to an answer, ranges, refused versions, ways back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from pyspark.sql import SparkSession

from millrace.catalog import Catalog
from millrace.connectors.hbase.endpoint import endpoint_of
from millrace.connectors.hbase.layout import ordered_integer
from millrace.connectors.hbase.service import Region
from millrace.connectors.hbase.tables import Tables
from millrace.errors import CheckFailed, DirtyLimitExceeded
from millrace.jobs import publishing
from millrace.jobs.context import connections_of, open_target
from millrace.jobs.session import SessionHolder
from millrace.serving import connect
from millrace.serving.grpc.schema import message
from millrace.spec.settings import Settings
from tests.jobs.conftest import Workspace, make_settings
from tests.servers.hbase import HBase
from tests.servers.mariadb import Database
from tests.servers.redis import RedisServer
from tests.serving.grpc.running import running as grpc_running
from tests.serving.grpc.test_grpc import call
from tests.serving.http.running import serving
from tests.serving.waiting import until

EXAMPLE = Path(__file__).parents[2] / "specs" / "users_by_city.yaml"
CITIES = ("aachen", "bergen", "cadiz")
USERS = 300
PLACES = """
version: 1
asset: places
source:
  log: {{path: "{path}", format: json, fields: {{ip_from: bigint, ip_to: bigint, place: string}}}}
targets:
  - hbase:
      {{connection: hbase_main, table: places, row_key: "{{ip_from}}", key_form: ordered, regions: 3, family: p}}
apis:
  - kv: {{name: places, range: {{start: ip_from, end: ip_to}}}}
"""
BOTH = """
version: 1
asset: notes
source:
  log: {{path: "{path}", format: json, max_line_bytes: 32MiB, fields: {{id: bigint, note: string}}}}
targets:
  - redis: {{connection: store, key: "{{id}}"}}
  - hbase: {{connection: hbase_main, table: notes, row_key: "{{id}}", family: n}}
mode: merge
limits: {{dirty: {{max_rows: 0}}}}
"""


@pytest.fixture
def users(mariadb_database: Database) -> Database:
    mariadb_database.execute(
        "CREATE TABLE users (id BIGINT PRIMARY KEY, name VARCHAR(40), city VARCHAR(40), age TINYINT)"
    )
    rows = [(n, f"user {n}", CITIES[n % 4] if n % 4 < 3 else None, n % 90) for n in range(USERS)]
    mariadb_database.insert("users", rows)
    return mariadb_database


@pytest.fixture
def place(
    tmp_path: Path, users: Database, redis_server: RedisServer, hbase: HBase, spark: SparkSession
) -> Iterator[Workspace]:
    urls = {"mysql_main": users.url, "store": redis_server.url, "hbase_main": hbase.bulk_url}
    settings = make_settings(tmp_path, urls)
    session = SessionHolder(settings)
    assert session.get().sparkContext is spark.sparkContext, "tests share one session"
    with Catalog.open(settings.catalog_url) as catalog, ExitStack() as stack:
        yield Workspace(settings, catalog, session, stack)
        _take_away(Workspace(settings, catalog, session))


def _take_away(place: Workspace) -> None:
    """What HBase holds of this test's assets, since tests share one HBase."""
    for text in (EXAMPLE.read_text(), PLACES.format(path="x"), BOTH.format(path="x")):
        spec = place.spec(text)
        target = open_target(spec, "hbase", connections_of(place.settings))
        target.unpublish(spec.asset)
        tables = getattr(target, "_link")  # noqa: B009 (the test cleans up behind the target's back)
        for table in tables.names("cleaning up"):
            if table.startswith(f"{spec.asset}_"):
                tables.drop("cleaning up", table)
        target.close()


def current(place: Workspace, text: str, target: str = "hbase") -> str | None:
    spec = place.spec(text)
    opened = open_target(spec, target, connections_of(place.settings))
    try:
        return opened.current(spec.asset)
    finally:
        opened.close()


def regions(place: Workspace, asset: str, version: str | None) -> list[Region]:
    tables = Tables(endpoint_of(connections_of(place.settings)("hbase_main")))
    try:
        return tables.regions("looking at a table", f"{asset}_{version}")
    finally:
        tables.close()


def pages_over_grpc(settings: Settings) -> list[bytes]:
    """Bergen's first three users, in two pages."""
    with grpc_running(settings) as running, grpc.insecure_channel(f"127.0.0.1:{running.port}") as channel:
        asked = {"api": "users_by_city", "prefix": ["bergen"]}
        first = call(channel, "Kv/Scan", "Rows", message("ScanRequest")(**asked, limit=2))
        second = call(channel, "Kv/Scan", "Rows", message("ScanRequest")(**asked, limit=1, after=first.cursor))
    assert (len(first.values), len(second.values), bool(second.cursor)) == (2, 1, True)
    return [*first.values, *second.values]


def test_the_example_is_served_a_bad_version_is_refused_and_a_rollback_brings_the_first_one_back(
    place: Workspace, users: Database
) -> None:
    text = EXAMPLE.read_text()
    first = place.run(text)
    assert first.error is None, first.error
    with serving(place.settings) as running, running.client() as client:

        def scan(**arguments: Any) -> httpx.Response:
            answer = client.get("/v1/kv/users_by_city:scan", params=arguments)
            assert answer.status_code == 200, answer.text
            return answer

        def names(**arguments: Any) -> list[str]:
            return [row["name"] for row in scan(**arguments).json()["rows"]]

        assert names(prefix="bergen", limit=3) == ["user 1", "user 5", "user 9"]
        page = scan(prefix="bergen", limit=70)
        rest = scan(prefix="bergen", after=page.headers["millrace-next"])
        ids = [row["id"] for row in page.json()["rows"] + rest.json()["rows"]]
        assert ids == list(range(1, USERS, 4))
        assert "/v1/kv/users_by_city:scan" in client.get("/openapi.json").json()["paths"]
        for library in (place.client(), connect(running.url)):
            users_of = library.kv("users_by_city")
            first_page = users_of.scan("bergen", limit=70)
            second_page = users_of.scan("bergen", after=first_page.next)
            assert [row["id"] for page in (first_page, second_page) for row in page.rows] == ids
            assert second_page.next == ""
        for value, name in zip(pages_over_grpc(place.settings), (b"user 1", b"user 5", b"user 9"), strict=True):
            assert name in value
        row = place.client().kv("users_by_city").get(("cadiz", 2))
        assert row == {"id": 2, "name": "user 2", "city": "cadiz", "age": 2}

        users.execute("DELETE FROM users WHERE id > 100")
        refused = place.run(text)
        assert isinstance(refused.error, CheckFailed)
        assert current(place, text) == first.version
        assert names(prefix="bergen", limit=1) == ["user 1"]

        users.insert("users", [(n, f"late {n}", CITIES[n % 4] if n % 4 < 3 else None, 1) for n in range(101, USERS)])
        users.execute("UPDATE users SET name = 'changed' WHERE id = 1")
        second = place.run(text)
        assert second.error is None, second.error
        until(lambda: names(prefix="bergen", limit=1) == ["changed"])

        connections = connections_of(place.settings)
        spec = place.spec(text)
        publishing.rollback(place.catalog, spec, lambda name: open_target(spec, name, connections))
        assert current(place, text) == first.version
        until(lambda: names(prefix="bergen", limit=1) == ["user 1"])


def test_an_address_is_found_in_its_interval_by_the_stores_own_order(place: Workspace) -> None:
    rows: list[dict[str, Any]] = [
        {"ip_from": 0x01000000, "ip_to": 0x010000FF, "place": "brisbane"},
        {"ip_from": 0x01000100, "ip_to": 0x01000FFF, "place": "fuzhou"},
        {"ip_from": 0x02000000, "ip_to": 0x02FFFFFF, "place": "paris"},
    ]
    report = place.run(PLACES.format(path=place.write("places.json", [json.dumps(row) for row in rows])))
    assert report.error is None, report.error
    starts = [region.start for region in regions(place, "places", report.version)]
    assert starts == [b"", *(ordered_integer(row["ip_from"], 8) for row in rows[1:])]
    with serving(place.settings) as running, running.client() as client:
        assert client.get("/v1/kv/places/1.0.1.9").json()["place"] == "fuzhou"
        assert client.get("/v1/kv/places/2.255.0.1").json()["place"] == "paris"
        assert client.get("/v1/kv/places/1.0.16.0").status_code == 404
        many = client.post("/v1/kv/places:mget", json={"keys": ["1.0.0.1", "3.0.0.0"]}).json()
        assert [row and row["place"] for row in many["rows"]] == ["brisbane", None]
    assert not (place.settings.home / "intervals").exists(), "no table was made beside"


def test_of_a_line_in_two_stores_nothing_is_published_when_the_second_load_fails(place: Workspace) -> None:
    def run(notes: dict[int, str]) -> Any:
        lines = [json.dumps({"id": id_, "note": note}) for id_, note in notes.items()]
        return place.run(BOTH.format(path=place.write("notes.json", lines)))

    def currents() -> list[str | None]:
        text = BOTH.format(path="x")
        return [current(place, text, name) for name in ("redis", "hbase")]

    first = run({1: "one", 2: "two"})
    assert first.error is None, first.error
    failed = run({2: "two again", 3: "x" * (11 << 20)})  # more than a cell of HBase holds
    assert isinstance(failed.error, DirtyLimitExceeded)
    assert currents() == [first.version, first.version]
    assert place.catalog.assets.get("notes").current_version == first.version
    again = run({2: "two again", 3: "three"})
    assert again.error is None, again.error
    assert currents() == [again.version, again.version]
    assert [row and row["note"] for row in place.client().kv("notes").multi_get([1, 2, 3])] == [
        "one", "two again", "three",
    ]  # fmt: skip
