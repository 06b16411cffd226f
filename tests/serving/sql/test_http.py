"""SQL APIs over real sockets: answers, pages, streams, refusals, versions that come and go."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.servers.clickhouse import ClickHouseDatabase
from tests.servers.redis import RedisServer
from tests.serving.http.running import Running, serving
from tests.serving.sql.conftest import DEFINITION, people
from tests.serving.sql.publishing import SqlPublisher, olap_workspace
from tests.serving.sql.queries import COLUMNS
from tests.serving.waiting import until

ROWS = 300


@pytest.fixture
def publisher(tmp_path: Path, clickhouse_database: ClickHouseDatabase) -> Iterator[SqlPublisher]:
    with olap_workspace(tmp_path, clickhouse_database.url) as (_, catalog):
        yield SqlPublisher(catalog, clickhouse_database.url, "users", COLUMNS, [{"sql": DEFINITION}])


@pytest.fixture
def running(publisher: SqlPublisher, tmp_path: Path, clickhouse_database: ClickHouseDatabase) -> Iterator[Running]:
    publisher.publish(people(ROWS))
    with olap_workspace(tmp_path, clickhouse_database.url) as (settings, _), serving(settings) as found:
        yield found


def test_a_query_is_answered_as_json_with_its_version(running: Running) -> None:
    tree = {
        "select": ["city", {"count": "*", "as": "n"}, {"sum": "amount"}],
        "where": {"column": "city", "in": ["oslo", "bergen"]},
        "group_by": ["city"],
        "order_by": ["city"],
    }
    with running.client() as client:
        answer = client.post("/v1/sql/users", json=tree)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert [row["city"] for row in body["rows"]] == ["bergen", "oslo"]
    assert [column["type"] for column in body["columns"]] == ["string", "bigint", "decimal(38,2)"]
    assert answer.headers["etag"] == f'W/"{body["version"]}"'
    assert body["next"] is None


def test_a_named_query_takes_parameters(running: Running) -> None:
    call = {"query": "by_city", "parameters": {"least": 0, "cities": ["oslo", "it's"]}}
    with running.client() as client:
        rows = client.post("/v1/sql/users", json=call).json()["rows"]
        wrong = client.post("/v1/sql/users", json={"query": "by_city", "parameters": {"cities": ["a"], "least": "0"}})
    assert {row["city"] for row in rows} == {"oslo", "it's"}
    assert wrong.status_code == 400
    assert wrong.json()["detail"].startswith("parameters.least: expected a whole number")


@pytest.mark.parametrize("accept", ["application/x-ndjson", "text/csv", "application/vnd.apache.arrow.stream"])
def test_a_stream_ends_with_its_rows_and_checksum(running: Running, accept: str) -> None:
    raw = streamed(running, {"select": ["id", "city", "at", "tags"], "order_by": ["id"]}, accept)
    rows, trailers = raw
    assert int(trailers["millrace-rows"]) == ROWS
    expected = people(ROWS)
    found: list[Any]
    if accept == "text/csv":
        found = [int(row["id"]) for row in csv.DictReader(io.StringIO(rows.decode()))]
        assert trailers["millrace-checksum"] == "sha256:" + hashlib.sha256(rows).hexdigest()
    elif accept == "application/x-ndjson":
        *lines, last = rows.splitlines(keepends=True)
        found = [json.loads(line)["id"] for line in lines]
        told = json.loads(last)["@end"]
        assert told == {"rows": ROWS, "checksum": "sha256:" + hashlib.sha256(b"".join(lines)).hexdigest()}
    else:
        reader = pa.ipc.open_stream(rows)
        table = pa.Table.from_batches([batch for batch in reader if batch.num_rows])
        found = table["id"].to_pylist()
        assert table["tags"].to_pylist() == expected["tags"].to_pylist()
        assert table["at"].to_pylist() == expected["at"].to_pylist()
    assert found == list(range(ROWS))


def streamed(running: Running, tree: object, accept: str) -> tuple[bytes, dict[str, str]]:
    """A stream's bytes and trailers, read from the socket as they come: httpx leaves trailers out."""
    body = json.dumps(tree).encode()
    request = (
        f"POST /v1/sql/users:stream HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", running.port), timeout=60) as sock:
        sock.sendall(request.encode() + body)
        file = sock.makefile("rb")
        assert file.readline() == b"HTTP/1.1 200 OK\r\n"
        while file.readline() != b"\r\n":
            pass
        found = b""
        while size := int(file.readline(), 16):
            found += file.read(size)
            file.readline()
        trailers = {}
        while (line := file.readline()) != b"\r\n":
            name, value = line.decode().rstrip().split(": ", 1)
            trailers[name] = value
        return found, trailers


def test_pages_stay_in_their_version_until_it_is_gone(running: Running, publisher: SqlPublisher) -> None:
    tree = {"select": ["id"], "page": {"size": 250}}
    with running.client() as client:
        first = client.post("/v1/sql/users", json=tree).json()
        old = publisher.catalog.versions.current("users")
        assert old is not None
        publisher.publish(people(10))
        until(lambda: client.post("/v1/sql/users", json={"select": [{"count": "*"}]}).json()["rows"] == [{"count": 10}])
        second = client.post("/v1/sql/users", json={**tree, "page": {"size": 250, "after": first["next"]}}).json()
        assert second["version"] == first["version"] == old.id
        assert [row["id"] for row in first["rows"] + second["rows"]] == list(range(ROWS))
        publisher.drop(old)
        gone = client.post("/v1/sql/users", json={**tree, "page": {"size": 250, "after": first["next"]}})
    assert gone.status_code == 410
    assert gone.json()["hint"] == "begin with the first page"


def test_what_can_not_be_answered_says_where_it_is_wrong(running: Running) -> None:
    with running.client() as client:
        wrong = client.post("/v1/sql/users", json={"where": {"and": [{"column": "agee", "gt": 1}]}})
        assert wrong.status_code == 400
        assert wrong.json()["detail"] == "where.and[0].column: unknown column 'agee', did you mean 'age'?"
        assert client.post("/v1/sql/users", content=b"{").status_code == 400
        assert client.post("/v1/sql/users", content=b"[" * 100_000).status_code == 400
        assert client.post("/v1/sql/nobody", json={}).status_code == 404
        assert client.post("/v1/sql/users/more", json={}).status_code == 404
        assert client.post("/v1/sql/users", json={}, headers={"accept": "image/png"}).status_code == 406
        assert client.post("/v1/sql/users", json={"limit": 100_000}).status_code == 400


def test_a_client_that_leaves_stops_the_store(
    running: Running, publisher: SqlPublisher, clickhouse_database: ClickHouseDatabase
) -> None:
    publisher.publish(people(20_000))
    request = b"POST /v1/sql/users:stream HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
    with socket.create_connection(("127.0.0.1", running.port), timeout=30) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(request)
        assert sock.recv(100).startswith(b"HTTP/1.1 200")
    others = f"SELECT count() FROM system.processes WHERE current_database = '{clickhouse_database.name}'"
    others += " AND query NOT LIKE '%processes%'"
    until(lambda: clickhouse_database.query(others).strip() == "0")
    with running.client() as client:
        assert client.post("/v1/sql/users", json={"select": [{"count": "*"}]}).status_code == 200


def test_an_answer_over_the_size_that_its_api_allows_is_refused(
    publisher: SqlPublisher, tmp_path: Path, clickhouse_database: ClickHouseDatabase
) -> None:
    publisher.apis = [{"sql": {**DEFINITION, "limits": {"size": "20KiB"}}}]
    publisher.publish(people(ROWS))
    with (
        olap_workspace(tmp_path, clickhouse_database.url) as (settings, _),
        serving(settings) as server,
        server.client() as client,
    ):
        answer = client.post("/v1/sql/users", json={})
        assert (answer.status_code, answer.json()["type"]) == (413, "urn:millrace:problem:too-large")
        small = client.post("/v1/sql/users", json={"limit": 2, "select": ["id"]})
        assert small.status_code == 200, small.text
        assert client.post("/v1/sql/users:stream", json={}).status_code == 200


def test_servers_share_answers_of_queries(
    publisher: SqlPublisher, tmp_path: Path, clickhouse_database: ClickHouseDatabase, redis_server: RedisServer
) -> None:
    cache = {"ttl": "1h", "shared": "shared", "compression": "zstd"}
    publisher.apis = [{"sql": {**DEFINITION, "cache": cache}}]
    publisher.publish(people(ROWS))
    tree = {"where": {"column": "id", "lt": 20}, "order_by": ["id"]}
    with olap_workspace(tmp_path, clickhouse_database.url) as (settings, _):
        connections = tmp_path / "connections.yaml"
        connections.write_text(f"{connections.read_text()}shared: {redis_server.url}\n")
        with serving(settings) as one, serving(settings) as other, one.client() as first, other.client() as second:
            fetched = first.post("/v1/sql/users", json=tree)
            assert (fetched.status_code, fetched.headers["x-millrace-origin"]) == (200, "store")
            until(lambda: len(redis_server.client().keys("millrace:cache:users:*")) == 1)
            shared = second.post("/v1/sql/users", json=tree)
            assert (shared.headers["x-millrace-origin"], shared.content) == ("l2", fetched.content)
            publisher.publish(people(ROWS, seed=8))
            until(lambda: second.post("/v1/sql/users", json=tree).headers["etag"] != shared.headers["etag"])
            page = first.get("/metrics").text
    assert 'millrace_cache_shared_kept_bytes{api="users"}' in page
