"""Clients that a server on the network meets: in a hurry, slow, broken, hostile."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace.serving.grpc.server import Limits as GrpcLimits
from millrace.serving.http.server import Limits
from millrace.spec.settings import Settings
from tests.connectors.loads import people
from tests.servers.redis import RedisServer
from tests.serving.grpc.running import running
from tests.serving.http.running import Running, serving
from tests.serving.publishing import Publisher
from tests.serving.waiting import until

GET = b"GET /v1/kv/user_profile/%d HTTP/1.1\r\nhost: test\r\n\r\n"
LIVE = b"GET /livez HTTP/1.1\r\nhost: test\r\n\r\n"


@pytest.fixture
def server(settings: Settings, publisher: Publisher) -> Iterator[Running]:
    publisher.publish(people(300))
    limits = Limits(target_bytes=1000, header_bytes=2000, body_bytes=5000, header_s=0.5, body_s=0.5, idle_s=3600)
    with serving(settings, limits) as running:
        yield running


@contextmanager
def connected(server: Running) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as sock:
        yield sock


def statuses(answer: bytes) -> list[int]:
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


def test_pipelined_requests_are_answered_in_their_order(server: Running) -> None:
    numbers = [*range(300), 999, *range(300)]
    answer = server.raw(b"".join(GET % number for number in numbers))
    assert len(statuses(answer)) == len(numbers)
    found = [int(part.partition(b",")[0]) for part in answer.split(b'{"id":')[1:]]
    assert found == [number for number in numbers if number != 999]


def test_slow_and_quick_endpoints_keep_the_order(server: Running) -> None:
    answer = server.raw(
        GET % 1 + LIVE + GET % 2 + b"POST /v1/kv/user_profile:mget HTTP/1.1\r\nhost: t\r\n" + MGET + LIVE
    )
    places = [
        answer.index(text) for text in (b'{"id":1,', b"alive", b'{"id":2,', b'"rows":[{"id":5', b'"alive"}HTTP')[:4]
    ]
    assert places == sorted(places)
    assert statuses(answer) == [200] * 5


MGET = b'content-length: 12\r\n\r\n{"keys":[5]}'


def test_a_request_may_come_byte_by_byte(server: Running) -> None:
    with connected(server) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in GET % 7:
            sock.sendall(bytes([byte]))
        assert b'"id":7' in sock.recv(65536)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),  # TLS
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nhost: t\r\nno colon here\r\n\r\n", 400),
        (b"GET /" + b"a" * 2000 + b" HTTP/1.1\r\nhost: t\r\n\r\n", 414),
        (b"GET /livez HTTP/1.1\r\nhost: t\r\nx: " + b"a" * 3000 + b"\r\n\r\n", 431),
        (b"POST /v1/kv/user_profile:mget HTTP/1.1\r\nhost: t\r\ncontent-length: 999999999\r\n\r\n", 413),
        (b"POST /livez HTTP/1.1\r\nhost: t\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST /livez HTTP/1.1\r\nhost: t\r\ncontent-length: -1\r\n\r\n", 400),
        (b"POST /livez HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET /v1/kv/user_profile/%zz HTTP/1.1\r\nhost: t\r\n\r\n", 400),
        (b"GET /v1/kv/%ff/1 HTTP/1.1\r\nhost: t\r\n\r\n", 400),
        (b"DELETE /livez HTTP/1.1\r\nhost: t\r\n\r\n", 405),
    ],
)
def test_what_is_malformed_gets_a_problem_and_disturbs_nobody(server: Running, request_: bytes, status: int) -> None:
    assert statuses(server.raw(request_))[:1] == [status]
    assert statuses(server.raw(LIVE)) == [200]


def test_a_chunked_body_over_the_limit_is_refused_while_it_comes(server: Running) -> None:
    head = b"POST /v1/kv/user_profile:mget HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n"
    assert statuses(server.raw(head + (b"400\r\n" + b"a" * 1024 + b"\r\n") * 10)) == [413]


@pytest.mark.parametrize("half", [GET[:20], b"POST /livez HTTP/1.1\r\nhost: t\r\ncontent-length: 9\r\n\r\n{"])
def test_a_client_that_never_finishes_its_request_is_hung_up_on(server: Running, half: bytes) -> None:
    with connected(server) as sock:
        sock.sendall(half)
        answer = b""
        while part := sock.recv(65536):
            answer += part
    assert statuses(answer) == [408]


def test_a_client_that_never_reads_blocks_only_itself(server: Running) -> None:
    with connected(server) as sock:
        sock.setblocking(False)
        sent = 0
        try:
            while sent < 50_000_000:
                sent += sock.send((GET % 1) * 1000)
        except BlockingIOError:
            pass
        assert sent < 50_000_000, "the server took in requests without end"
        assert statuses(server.raw(LIVE)) == [200]


def test_a_client_that_leaves_takes_its_work_along(server: Running) -> None:
    for _ in range(50):
        with connected(server) as sock:
            sock.sendall(b"".join(GET % number for number in range(100)))
    deadline = time.monotonic() + 30
    while server.server.connections and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not server.server.connections
    assert statuses(server.raw(GET % 1)) == [200]


def test_who_leaves_while_the_store_is_silent_frees_the_slots_of_its_calls(
    server: Running, redis_server: RedisServer
) -> None:
    def in_flight() -> float:
        gauges = {name: value for name, _, value in server.service.metrics.dump()["gauges"]}
        return float(gauges["calls_in_flight"])

    redis_server.pause()
    try:
        with connected(server) as sock:
            sock.sendall(b"".join(GET % number for number in range(100)))
            until(lambda: in_flight() == 100)
        until(lambda: in_flight() == 0)
    finally:
        redis_server.resume()


def test_more_connections_than_a_worker_takes_are_told_to_come_again(settings: Settings, publisher: Publisher) -> None:
    publisher.publish(people(10))
    with serving(settings, Limits(connections=2)) as server, connected(server), connected(server):
        until(lambda: len(server.server.connections) == 2)
        refused = server.raw(b"")
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1\r\n" in refused
    with running(settings, GrpcLimits(connections=1)) as rpc, socket.create_connection(("127.0.0.1", rpc.port)):
        until(lambda: len(rpc.server.connections) == 1)
        with socket.create_connection(("127.0.0.1", rpc.port), timeout=30) as second:
            assert b"as many connections" in b"".join(iter(lambda: second.recv(65536), b""))


def test_http_1_0_and_close_end_the_connection(server: Running) -> None:
    assert b"connection: close" in server.raw(b"GET /livez HTTP/1.0\r\n\r\n")
    closing = b"GET /v1/kv/user_profile/1 HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n"
    with connected(server) as sock:
        sock.sendall(closing)
        answer = b""
        while part := sock.recv(65536):
            answer += part
    assert answer.endswith(b'"note":""}')


def test_answers_are_compressed_for_who_accepts_it(settings: Settings, publisher: Publisher) -> None:
    publisher.publish([{"id": 1, "text": "word " * 1000}])
    with serving(settings) as server, server.client() as client:
        for coding in ("gzip", "zstd"):
            answer = client.get("/v1/kv/user_profile/1", headers={"accept-encoding": coding})
            assert answer.headers["content-encoding"] == coding
            assert int(answer.headers["content-length"]) < 1000
            assert answer.json()["text"] == "word " * 1000
        plain = client.get("/v1/kv/user_profile/1", headers={"accept-encoding": "gzip;q=0"})
        assert "content-encoding" not in plain.headers


def test_a_version_that_the_client_has_is_not_sent_again(server: Running) -> None:
    with server.client() as client:
        first = client.get("/v1/kv/user_profile/1")
        again = client.get("/v1/kv/user_profile/1", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.one_of(
        st.binary(max_size=300),
        st.lists(
            st.sampled_from(
                [
                    GET % 1,
                    LIVE,
                    b"\r\n",
                    b"GET ",
                    b" HTTP/1.1",
                    b"host: t",
                    b"content-length: 3",
                    b"transfer-encoding: chunked",
                    b"5\r\nhello\r\n",
                    b"0\r\n\r\n",
                    b"\x00",
                    b"\xff",
                    b"%",
                    b"/v1/kv/user_profile/",
                    b":",
                    b"POST /v1/kv/x:mget HTTP/1.1\r\n",
                ]
            ),
            max_size=12,
        ).map(b"".join),
    )
)
def test_no_bytes_bring_the_server_down(server: Running, data: bytes) -> None:
    answer = server.raw(data + b"\r\n\r\n")
    assert all(status < 500 or status == 501 for status in statuses(answer)), answer
    assert statuses(server.raw(LIVE)) == [200]
