"""A store that is away or late: stale, then default, then an error; each marked, whichever way one asks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from millrace.connectors.redis.lookup import RedisReader
from millrace.errors import TransientError
from millrace.serving import Degraded, connect
from millrace.serving.grpc.schema import message
from millrace.spec.settings import Settings
from tests.connectors.loads import people
from tests.servers.redis import RedisServer
from tests.serving.grpc.test_grpc import call
from tests.serving.grpc.test_grpc import serving as serving_grpc
from tests.serving.http.running import serving
from tests.serving.publishing import Publisher, workspace

KEPT = {"ttl": "1ms", "stale_on_error": "1h"}
APIS = (
    {"kv": {"name": "stale", "cache": KEPT}},
    {"kv": {"name": "default", "cache": KEPT, "default": {"name": "nobody"}}},
    {"kv": {"name": "nothing"}},
    {"kv": {"name": "quick", "default": {"id": "0"}, "limits": {"timeout": "50ms"}}},
)
NOBODY = {"id": None, "name": "nobody", "note": None}


@dataclass
class Store:
    settings: Settings
    redis: RedisServer


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder: Path = tmp_path_factory.mktemp("degraded")
    with RedisServer() as redis, workspace(folder, redis.url) as (settings, catalog):
        Publisher(catalog, redis.url, apis=APIS).publish(people(10))
        yield Store(settings, redis)


@pytest.fixture
def paused(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
    """The store, for a test to pause; it goes on afterwards. It is given up after a second, which spares some."""
    monkeypatch.setitem(RedisReader.__init__.__kwdefaults__ or {}, "timeout_s", 1.0)
    yield store.redis
    store.redis.resume()


def test_http_marks_what_it_gives_instead(store: Store, paused: RedisServer) -> None:
    with serving(store.settings) as server, server.client() as client:

        def get(path: str) -> tuple[int, str, Any]:
            answer = client.get(f"/v1/kv/{path}")
            return answer.status_code, answer.headers.get("x-millrace-origin", ""), answer.json()

        def mget(api: str, *keys: int) -> tuple[str, Any]:
            answer = client.post(f"/v1/kv/{api}:mget", json={"keys": keys})
            return answer.headers["x-millrace-origin"], answer.json()

        first = {api: get(f"{api}/1")[2] for api in ("stale", "default")}
        assert mget("default", 1)[0] in ("store", "l1")
        paused.pause()
        time.sleep(0.01)  # what is kept is fresh for a millisecond
        assert get("stale/1") == (200, "stale", first["stale"])
        assert get("default/1") == (200, "stale", first["default"])
        assert get("default/2") == (200, "default", NOBODY)
        assert get("quick/2") == (200, "default", {"id": 0, "name": None, "note": None})
        assert get("stale/2")[0] == 503
        assert get("nothing/1")[0] == 503
        origin, body = mget("default", 1, 2)
        assert (origin, body["origin"], body["rows"]) == ("default", "default", [first["default"], NOBODY])
        origin, body = mget("stale", 1)
        assert (origin, body["origin"], body["rows"]) == ("stale", "stale", [first["stale"]])
        page = client.get("/metrics").text
    assert 'millrace_request_seconds_count{api="default",consumer="anonymous",origin="default",code="ok"}' in page
    assert 'millrace_store_seconds_count{outcome="ok",store="online"}' in page
    assert 'millrace_store_seconds_count{outcome="failed",store="online"}' in page


@pytest.mark.parametrize("how", ["in process", "through a server"])
def test_the_library_marks_what_it_gives_instead(store: Store, paused: RedisServer, how: str) -> None:
    with (
        serving(store.settings) as server,
        connect(store.settings if how == "in process" else server.url, timeout_s=60) as client,
    ):
        default, nothing = client.kv("default"), client.kv("nothing")
        first = default.get(3)
        assert first is not None
        assert not isinstance(first, Degraded)
        paused.pause()
        time.sleep(0.01)  # what is kept is fresh for a millisecond
        stale, instead = default.get(3), default.get(4)
        assert isinstance(stale, Degraded)
        assert (stale, stale.origin) == (first, "stale")
        assert isinstance(instead, Degraded)
        assert (instead, instead.origin) == (NOBODY, "default")
        assert [row.origin for row in default.multi_get([3, 4]) if isinstance(row, Degraded)] == ["default"] * 2
        with pytest.raises(TransientError):
            nothing.get(1)


def test_grpc_marks_what_it_gives_instead(store: Store, paused: RedisServer) -> None:
    with serving_grpc(store.settings) as channel:

        def get(api: str, key: str) -> Any:
            return call(channel, "Kv/Get", "Row", message("GetRequest")(api=api, key=[key]))

        assert get("default", "5").origin == ""
        paused.pause()
        time.sleep(0.01)  # what is kept is fresh for a millisecond
        assert get("default", "5").origin == "stale"
        assert get("default", "6").origin == "default"
        many = call(channel, "Kv/MultiGet", "Rows", message("MultiGetRequest")(api="default", keys=["5", "6"]))
        assert (many.origin, list(many.missing)) == ("default", [])
        with pytest.raises(grpc.RpcError) as raised:
            get("nothing", "1")
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


def test_the_declaration_of_rows_is_served(store: Store) -> None:
    with serving(store.settings) as server, server.client() as client:
        answer = client.get("/v1/kv/stale.proto")
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert 'syntax = "proto3";' in answer.text
        assert "name" in answer.text
        assert client.get("/v1/kv/none.proto").status_code == 404
