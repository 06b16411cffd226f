"""Gets that come at the same time are asked for at once, and yet each has its own answer."""

from __future__ import annotations

import json
import re
import socket
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import monotonic

import pytest

from millrace.catalog import Catalog
from millrace.catalog.access_model import Consumer, QuotaPeriod, Terms
from millrace.serving.guards.protection import Protection, Rules
from millrace.spec.settings import Settings
from tests.connectors.loads import people
from tests.servers.process import wait_until
from tests.servers.redis import RedisServer
from tests.serving.http.running import Running, serving
from tests.serving.publishing import Publisher, workspace

_ANSWER = re.compile(rb"HTTP/1\.1 (\d{3}) .*?\r\n\r\n(\{.*?\})(?=HTTP/1\.1|\Z)", re.DOTALL)


def gets(server: Running, keys: Sequence[object], tokens: Sequence[str] = ("",)) -> list[tuple[int, bytes]]:
    """Status and body of each answer to gets that are sent in one piece, with these tokens in turn."""
    lines = [
        f"GET /v1/kv/user_profile/{key} HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {tokens[n % len(tokens)]}\r\n\r\n"
        for n, key in enumerate(keys)
    ]
    return [(int(status), body) for status, body in _ANSWER.findall(server.raw("".join(lines).encode()))]


def statuses(found: list[tuple[int, bytes]]) -> list[int]:
    return [status for status, _ in found]


def ids(found: list[tuple[int, bytes]]) -> list[int]:
    return [int(body.partition(b",")[0][len(b'{"id":') :]) for status, body in found if status == 200]


def test_one_turn_asks_one_question(settings: Settings, publisher: Publisher, redis_server: RedisServer) -> None:
    publisher.publish(people(100))
    with serving(settings) as server:
        before = questions(redis_server)
        found = gets(server, range(100))
        assert questions(redis_server) - before <= 10, "100 gets in one piece were asked for one by one"
    assert ids(found) == [*range(100)]


def questions(store: RedisServer) -> int:
    stats = store.client().info("commandstats")
    return sum(int(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"]) for name in ("get", "mget"))


def test_a_bad_key_and_a_missing_one_spoil_nothing(settings: Settings, publisher: Publisher) -> None:
    publisher.publish(people(10))
    keys = [1, "abc", 2, 99, "%37", "%ff", "3/4", 3]
    with serving(settings) as server:
        found = gets(server, keys)
    assert statuses(found) == [200, 400, 200, 404, 200, 400, 400, 200]
    assert b'"id":7' in found[4][1]


def test_a_row_that_cant_be_read_is_the_fault_of_its_own_request(
    settings: Settings, publisher: Publisher, redis_server: RedisServer
) -> None:
    publisher.options = {"value": "hash"}
    version = publisher.publish(people(10))
    redis_server.client().set(f"user_profile:{version.id}:4", "no hash")
    with serving(settings) as server:
        found = gets(server, range(10))
    assert [key for key, status in enumerate(statuses(found)) if status != 200] == [4]
    assert found[4][0] >= 500


def test_kept_and_fetched_rows_come_in_order(settings: Settings, publisher: Publisher) -> None:
    publisher.apis = ({"kv": {"name": "user_profile", "cache": {"ttl": "1h", "negative_ttl": "1h"}}},)
    publisher.publish(people(10))
    with serving(settings) as server, server.client() as client:
        assert statuses(gets(server, [2, 99])) == [200, 404]
        found = gets(server, [1, 2, 3, 3, 99, 98, 2])
        kept = client.get("/v1/kv/user_profile/2").headers["x-millrace-origin"]
    assert kept == "l1"
    assert ids(found) == [1, 2, 3, 3, 2]
    assert statuses(found) == [200, 200, 200, 200, 404, 404, 200]


BODIES = {
    '{"keys":[1,2]}': [1, 2],
    '{"keys": [3,\n 99, 4 ]}': [3, None, 4],
    '{"keys":[]}': [],
    '{"keys":["5",6]}': [5, 6],
    '{"keys":[-1,-0]}': [None, 0],
    '{"keys":[7],"keys":[8]}': [8],
    '{"keys":[1,2,3,4,5,6,7,8]}': [1, 2, 3, 4, 5, 6, 7, 8],
    '{"keys":[1,"x"]}': 400,
    '{"keys":[1.0]}': 400,
    '{"keys":[01]}': 400,
    '{"keys":[1,2],"more":[3]}': 400,
    '{"keys":[1,2,3,4,5,6,7,8,9]}': 413,
    "": 400,
}


@pytest.mark.parametrize("cache", [None, {"ttl": "1h", "negative_ttl": "1h"}], ids=["without a cache", "with a cache"])
@pytest.mark.parametrize("same", [False, True], ids=["all kinds", "of one kind"])
def test_gets_of_many_keys_have_each_their_own_rows(
    settings: Settings, publisher: Publisher, cache: object, same: bool
) -> None:
    publisher.apis = ({"kv": {"name": "user_profile", "limits": {"keys": 8}, **({"cache": cache} if cache else {})}},)
    publisher.publish(people(9))
    turns = [[body] * 5 for body in BODIES] if same else [[*BODIES]] * 3
    with serving(settings) as server:
        for bodies in turns:
            assert mgets(server, bodies) == [BODIES[body] for body in bodies]


def mgets(server: Running, bodies: Sequence[str]) -> list[object]:
    """The ids of the rows that each body brings, or its status; all of them are sent in one piece."""
    request = "POST /v1/kv/user_profile:mget HTTP/1.1\r\nhost: t\r\ncontent-length: {}\r\n\r\n{}"
    found = server.raw("".join(request.format(len(body), body) for body in bodies).encode())
    answers = [(int(part[:3]), part.partition(b"\r\n\r\n")[2]) for part in found.split(b"HTTP/1.1 ")[1:]]
    return [
        [row and row["id"] for row in json.loads(body)["rows"]] if status == 200 else status for status, body in answers
    ]


@pytest.fixture
def guarded(settings: Settings, publisher: Publisher) -> Iterator[Running]:
    publisher.publish(people(100, note="secret"))
    with serving(settings, protection=Protection(Rules(permissions=True))) as server:
        yield server


def token_of(catalog: Catalog, server: Running, name: str, terms: Terms | None) -> str:
    """The token of a new consumer, once the server knows its grant; "" stands for nobody's."""
    access = catalog.access
    access.add_consumer(Consumer(name), "olga")
    if terms is not None:
        access.approve(access.request(name, "user_profile", terms, "", "sam").id, "olga")
    token: str = access.issue_token(name, "olga")
    permissions = server.service.protection._permissions
    assert permissions is not None
    wait_until(lambda: permissions._snapshot.generation >= access.generation(), "the server reads its grants")
    return token


def test_requests_of_one_turn_have_their_own_permissions(
    guarded: Running, served_catalog: tuple[Settings, Catalog]
) -> None:
    catalog = served_catalog[1]
    whole, narrow = Terms(), Terms(columns=("id", "name"), row_filter={"column": "id", "lt": 50})
    tokens = [
        token_of(catalog, guarded, "whole", whole),
        token_of(catalog, guarded, "narrow", narrow),
        token_of(catalog, guarded, "none", None),
        "mr_nobody",
    ]
    found = gets(guarded, [7] * 4 + [70] * 4 + [8] * 4, tokens)
    assert statuses(found) == [200, 200, 403, 401, 200, 404, 403, 401, 200, 200, 403, 401]
    assert b"secret" in found[0][1]
    assert found[1][1] == b'{"id":7,"name":"person 7"}'


@pytest.mark.parametrize(
    ("terms", "passed"),
    [
        (Terms(requests_per_second=5), 5),
        (Terms(quota=7, quota_period=QuotaPeriod.MONTH), 7),
        (Terms(requests_per_second=9, quota=6, quota_period=QuotaPeriod.MONTH), 6),
    ],
)
def test_a_turn_over_a_limit_is_let_through_up_to_it(
    guarded: Running, served_catalog: tuple[Settings, Catalog], terms: Terms, passed: int
) -> None:
    token = token_of(served_catalog[1], guarded, "shop", terms)
    started = monotonic()
    found = statuses(gets(guarded, [7] * 3 + [8] * 60, [token]))
    more = (monotonic() - started) * (terms.requests_per_second or 0) if terms.quota is None else 0
    assert passed <= found.count(200) <= passed + more + 1
    assert found.count(429) == len(found) - found.count(200) > 0


def test_slots_are_given_back_and_the_rest_is_refused(settings: Settings, publisher: Publisher) -> None:
    publisher.apis = ({"kv": {"name": "user_profile", "limits": {"concurrency": 20}}},)
    publisher.publish(people(10))
    with serving(settings) as server:
        for _ in range(3):
            assert statuses(gets(server, [1] * 20)).count(200) == 20
        assert statuses(gets(server, [1] * 50)).count(200) >= 20
        assert statuses(gets(server, [1] * 20)).count(200) == 20


def test_a_client_that_leaves_in_the_middle_takes_nobody_along(tmp_path: Path) -> None:
    request = b"GET /v1/kv/user_profile/7 HTTP/1.1\r\nhost: t\r\n\r\n"
    with RedisServer() as store, workspace(tmp_path, store.url) as (settings, catalog):
        Publisher(catalog, store.url).publish(people(10))
        with serving(settings) as server, socket.create_connection(("127.0.0.1", server.port), timeout=30) as stays:
            stays.sendall(request)
            assert b'"id":7' in stays.recv(65536)
            store.pause()
            with socket.create_connection(("127.0.0.1", server.port)) as leaves:
                for client in (leaves, stays):
                    client.sendall(request)
                wait_until(lambda: server.waiting() == 2, "both have asked")
                leaves.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close with a reset
            wait_until(lambda: server.waiting() == 1, "one has left")
            store.resume()
            assert b'"id":7' in stays.recv(65536)
            stays.sendall(request.replace(b"/7 ", b"/8 "))
            assert b'"id":8' in stays.recv(65536)
