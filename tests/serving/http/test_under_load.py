"""Under load: versions come and go, and the store fails, while clients ask without pause."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.connectors.loads import people
from tests.servers.process import wait_until
from tests.servers.redis import RedisServer
from tests.serving.http.running import Running, serving
from tests.serving.publishing import Publisher, workspace

CLIENTS = 4
ROWS = 50


@dataclass
class Load:
    """What clients that ask all the time got: how many answers of each kind, and every one that was wrong."""

    asked: Counter[Any] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def note(self, answer: httpx.Response, expected: Callable[[httpx.Response], str]) -> None:
        self.asked[answer.status_code] += 1
        if fault := expected(answer):
            self.wrong.append(fault)


@contextmanager
def load(
    server: Running, ask: Callable[[httpx.Client, int], httpx.Response], check: Callable[..., str]
) -> Iterator[Load]:
    """Ask from several clients until the block ends."""
    found, stop = Load(), threading.Event()

    def client(number: int) -> None:
        with server.client() as http:
            turn = number
            while not stop.is_set():
                turn += 1
                try:
                    found.note(ask(http, turn), check)
                except httpx.HTTPError as error:
                    found.wrong.append(repr(error))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def get(client: httpx.Client, turn: int) -> httpx.Response:
    return client.get(f"/v1/kv/user_profile/{turn % ROWS}")


def mget(client: httpx.Client, _turn: int) -> httpx.Response:
    return client.post("/v1/kv/user_profile:mget", json={"keys": [*range(ROWS)]})


@pytest.mark.parametrize("cache", [None, {"ttl": "5s"}], ids=["without a cache", "with a cache"])
@pytest.mark.parametrize("ask", [get, mget])
def test_publish_and_rollback_lose_and_mix_nothing(
    tmp_path: Path, redis_server: RedisServer, ask: Any, cache: Any
) -> None:
    with workspace(tmp_path, redis_server.url) as (settings, catalog):
        api = {"name": "user_profile", **({"cache": cache} if cache else {})}
        publisher = Publisher(catalog, redis_server.url, apis=({"kv": api},))
        notes: dict[str, str] = {}

        def publish(note: str) -> None:
            notes[publisher.publish(people(ROWS, note)).id] = note

        def check(answer: httpx.Response) -> str:
            if answer.status_code != 200:
                return f"{answer.status_code} {answer.text}"
            version = answer.headers["etag"][3:-1]
            rows = answer.json().get("rows") or [answer.json()]
            note = notes.get(version)  # unknown while `publish` has not returned yet
            found = {row["note"] for row in rows}
            return "" if len(found) == 1 and note in (None, *found) else f"{version} ({note}) with {found}"

        publish("note 0")
        with serving(settings) as server, load(server, ask, check) as found:
            for number in range(1, 6):
                before = found.asked.total()
                publish(f"note {number}")
                if number == 3:
                    publisher.rollback()
                wait_until(lambda before=before: found.asked.total() > before + 20, "answers")  # type: ignore[misc]  # bound early
    assert not found.wrong, found.wrong[:5]
    assert set(found.asked) == {200}


def test_apis_come_change_and_go_and_no_request_fails(tmp_path: Path, redis_server: RedisServer) -> None:
    def check(answer: httpx.Response) -> str:
        return "" if answer.status_code == 200 else f"{answer.status_code} {answer.text}"

    with workspace(tmp_path, redis_server.url) as (settings, catalog):
        publisher = Publisher(catalog, redis_server.url)
        publisher.publish(people(ROWS))
        with serving(settings) as server, server.client() as client, load(server, get, check) as found:
            for number in (1, 2):
                before = found.asked.total()
                changed = {"name": "user_profile", "cache": {"ttl": f"{number}s"}}
                publisher.apis = ({"kv": changed}, {"kv": {"name": f"new_{number}"}})
                publisher.publish(people(ROWS))
                wait_until(lambda number=number: client.get(f"/v1/kv/new_{number}/1").status_code == 200, "the new API")  # type: ignore[misc]  # bound early
                assert client.get(f"/v1/kv/new_{number - 1}/1").status_code == 404
                assert get(client, 1).headers["cache-control"] == f"private, max-age={number}"
                wait_until(lambda before=before: found.asked.total() > before + 20, "answers")  # type: ignore[misc]  # bound early
    assert not found.wrong, found.wrong[:5]


@pytest.mark.parametrize("failure", ["kill", "pause"])
def test_a_store_that_fails_is_answered_with_503_and_comes_back(tmp_path: Path, failure: str) -> None:
    def check(answer: httpx.Response) -> str:
        fine = answer.status_code == 200 or (answer.status_code == 503 and "retry-after" in answer.headers)
        return "" if fine else f"{answer.status_code} {answer.text}"

    with RedisServer(persistent=True) as store, workspace(tmp_path, store.url) as (settings, catalog):
        Publisher(catalog, store.url).publish(people(ROWS))
        with serving(settings) as server, load(server, get, check) as found:
            wait_until(lambda: found.asked[200] > 20, "answers before")
            if failure == "kill":
                store.kill()
            else:
                store.pause()
            wait_until(lambda: found.asked[503] > 0, "the failure to show")
            assert httpx.get(f"{server.url}/livez").status_code == 200
            if failure == "kill":
                store.restart()
            else:
                store.resume()
            before = found.asked[200]
            wait_until(lambda: found.asked[200] > before + 20, "answers after")
    assert not found.wrong, found.wrong[:5]


def test_a_store_that_is_slow_is_waited_for(tmp_path: Path, redis_server: RedisServer) -> None:
    def check(answer: httpx.Response) -> str:
        return "" if answer.status_code in (200, 503) else f"{answer.status_code} {answer.text}"

    with workspace(tmp_path, redis_server.url) as (settings, catalog), redis_server.client() as admin:
        Publisher(catalog, redis_server.url).publish(people(ROWS))
        with serving(settings) as server, load(server, mget, check) as found:
            for _ in range(5):
                before = found.asked[200]
                admin.execute_command("CLIENT", "PAUSE", 100, "ALL")
                wait_until(lambda before=before: found.asked[200] > before + CLIENTS, "slow answers")  # type: ignore[misc]  # bound early
    assert not found.wrong, found.wrong[:5]


def test_kept_answers_outlive_a_store_that_is_away(tmp_path: Path) -> None:
    cache = {"ttl": "50ms", "stale_on_error": "10m"}
    with RedisServer(persistent=True) as store, workspace(tmp_path, store.url) as (settings, catalog):
        Publisher(catalog, store.url, apis=({"kv": {"name": "user_profile", "cache": cache}},)).publish(people(ROWS))
        with serving(settings) as server, server.client() as client:
            assert get(client, 1).status_code == 200
            store.kill()
            wait_until(lambda: get(client, 2).status_code == 503, "the store to be missed")
            assert get(client, 1).json()["id"] == 1
            assert 'origin="stale"' in client.get("/metrics").text


def test_a_store_that_keeps_failing_is_left_alone_until_it_is_well_again(tmp_path: Path) -> None:
    with RedisServer(persistent=True) as store, workspace(tmp_path, store.url) as (settings, catalog):
        Publisher(catalog, store.url).publish(people(ROWS))
        with serving(settings) as server, server.client() as client:
            assert get(client, 1).status_code == 200
            store.kill()
            wait_until(lambda: "is left alone" in get(client, 1).text, "the breaker to open")
            assert 'millrace_breaker_open{store="online"} 1' in client.get("/metrics").text
            store.restart()
            wait_until(lambda: get(client, 1).status_code == 200, "the breaker to close")
            wait_until(
                lambda: (
                    get(client, 1).status_code == 200
                    and 'millrace_breaker_open{store="online"} 0' in client.get("/metrics").text
                ),
                "the breaker to be closed",
            )


def test_answers_that_are_due_are_given_while_the_server_leaves(tmp_path: Path, redis_server: RedisServer) -> None:
    answers: list[httpx.Response] = []
    with workspace(tmp_path, redis_server.url) as (settings, catalog):
        Publisher(catalog, redis_server.url).publish(people(ROWS))
        with serving(settings) as server:
            assert httpx.get(f"{server.url}/v1/kv/user_profile/1").status_code == 200
            redis_server.pause()
            address = f"{server.url}/v1/kv/user_profile/2"

            def resume() -> None:
                wait_until(lambda: server.server.draining, "the drain")
                redis_server.resume()

            asking = threading.Thread(target=lambda: answers.append(httpx.get(address, timeout=30)))
            asking.start()
            wait_until(lambda: server.waiting() > 0, "the request to wait for the store")
            resuming = threading.Thread(target=resume)
            resuming.start()
        asking.join()
        resuming.join()
    assert answers[0].status_code == 200
