"""KV over HTTP: a real server, a real Redis, versions that were really published."""

from __future__ import annotations

import pyarrow as pa
import pytest

from millrace.connectors.wire import speedups
from millrace.spec.settings import Settings
from tests.connectors.loads import people
from tests.servers.process import wait_until
from tests.serving.http.running import serving
from tests.serving.publishing import Publisher


def test_a_row_is_answered_in_every_format(settings: Settings, publisher: Publisher) -> None:
    version = publisher.publish(people(10, "hello"))
    row = {"id": 7, "name": "person 7", "note": "hello"}
    with serving(settings) as server, server.client() as client:
        answer = client.get("/v1/kv/user_profile/7")
        assert answer.status_code == 200
        assert answer.json() == row
        assert answer.headers["etag"] == f'W/"{version.id}"'
        assert "total;dur=" in answer.headers["server-timing"]
        stored = client.get("/v1/kv/user_profile/7", headers={"accept": "application/x-protobuf"})
        assert stored.content == b"\x08\x07\x12\x08person 7\x1a\x05hello"
        arrow = client.get("/v1/kv/user_profile/7", headers={"accept": "application/vnd.apache.arrow.stream"})
        assert pa.ipc.open_stream(arrow.content).read_all().to_pylist() == [row]


def test_many_keys_are_answered_in_their_order(settings: Settings, publisher: Publisher) -> None:
    version = publisher.publish(people(10))
    with serving(settings) as server, server.client() as client:
        answer = client.post("/v1/kv/user_profile:mget", json={"keys": [3, 99, 1]}).json()
        assert client.get("/readyz").json()["speedups"] == speedups.LANGUAGE
    assert answer["version"] == version.id
    assert [row and row["id"] for row in answer["rows"]] == [3, None, 1]


def test_an_api_gives_only_its_own_columns(settings: Settings, publisher: Publisher) -> None:
    publisher.apis = ({"kv": {"name": "user_profile", "columns": ["id", "name"], "cache": {"ttl": "60s"}}},)
    publisher.publish(people(10, "secret"))
    with serving(settings) as server, server.client() as client:
        for _ in range(2):  # from the store, then from the cache
            assert client.get("/v1/kv/user_profile/7").json() == {"id": 7, "name": "person 7"}
        many = client.post("/v1/kv/user_profile:mget", json={"keys": [7, 99]})
        assert many.json()["rows"] == [{"id": 7, "name": "person 7"}, None]


def test_composite_keys_are_segments_of_the_address(settings: Settings, publisher: Publisher) -> None:
    publisher.key = "{country}:{city}"
    publisher.publish([{"country": "de", "city": "Köln/Deutz", "people": 1}])
    with serving(settings) as server, server.client() as client:
        assert client.get("/v1/kv/user_profile/de/K%C3%B6ln%2FDeutz").json()["people"] == 1
        assert client.post("/v1/kv/user_profile:mget", json={"keys": [["de", "Köln/Deutz"]]}).json()["rows"][0]


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/v1/kv/user_profile/99", 404, "no row under this key"),
        ("/v1/kv/user_profile/abc", 400, "'abc' is not a bigint"),
        ("/v1/kv/user_profile/1/2", 400, "the key '{id}' needs id; got 2"),
        ("/v1/kv/user_profile/%ff", 400, "not UTF-8"),
        ("/v1/kv/user_profil/1", 404, "did you mean 'user_profile'?"),
        ("/v1/nothing", 404, "nothing at this address"),
    ],
)
def test_what_cannot_be_answered_is_a_problem(
    settings: Settings, publisher: Publisher, path: str, status: int, says: str
) -> None:
    publisher.publish(people(10))
    with serving(settings) as server, server.client() as client:
        answer = client.get(path)
    assert answer.status_code == answer.json()["status"] == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert says in answer.json()["detail"]


def test_apis_come_change_and_go_without_a_restart(settings: Settings, publisher: Publisher) -> None:
    publisher.publish(people(10))
    with serving(settings) as server, server.client() as client:
        assert client.get("/v1/kv/second/1").status_code == 404
        publisher.apis = ({"kv": {"name": "second", "cache": {"ttl": "30s"}}},)
        publisher.publish(people(10))
        wait_until(lambda: client.get("/v1/kv/second/1").status_code == 200, "the new API")
        assert client.get("/v1/kv/second/1").headers["cache-control"] == "private, max-age=30"
        wait_until(lambda: client.get("/v1/kv/user_profile/1").status_code == 404, "the old API to go")


def test_an_api_that_can_not_be_used_keeps_its_last_good_plan_and_is_reported(
    settings: Settings, publisher: Publisher
) -> None:
    publisher.publish(people(10, "first"))
    good = publisher.apis
    with serving(settings) as server, server.client() as client:
        publisher.apis = ({"kv": {"name": "user_profile", "range": {"start": "low", "end": "high"}}},)
        publisher.publish(people(10, "second"))
        wait_until(lambda: "user_profile" in client.get("/readyz").json()["broken"], "the report")
        assert "names columns that user_profile doesn't have" in client.get("/readyz").json()["broken"]["user_profile"]
        assert client.get("/readyz").status_code == 200
        wait_until(lambda: client.get("/v1/kv/user_profile/1").json()["note"] == "second", "the new version")
        assert 'millrace_reload_failures_total{api="user_profile"}' in client.get("/metrics").text
        publisher.apis = good
        publisher.publish(people(10, "third"))
        wait_until(lambda: not client.get("/readyz").json()["broken"], "the API to be well again")
        wait_until(lambda: client.get("/v1/kv/user_profile/1").json()["note"] == "third", "its version")
