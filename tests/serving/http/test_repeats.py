"""Blocks of headers that came before: found when a request is theirs byte by byte, and never otherwise."""

from __future__ import annotations

import pytest

from millrace.serving.http.repeats import Headers, Repeats

BLOCK = b"host: t\r\nauthorization: Bearer a\r\n\r\n"
LINE = b"GET /v1/kv/users/%d HTTP/1.1\r\n"
POST = b"POST /v1/kv/users:mget HTTP/1.1\r\n"


def headers(**given: str) -> Headers:
    found = Headers()
    found.update({name.replace("_", "-").encode(): value.encode() for name, value in given.items()})
    return found


@pytest.fixture
def repeats() -> Repeats:
    found = Repeats(100)
    found.learn(LINE % 1 + BLOCK, headers(host="t", authorization="Bearer a"))
    body = POST + b"content-length: 3\r\n\r\nabc"
    found.learn(body, headers(content_length="3"))
    return found


def test_another_request_with_the_same_headers_is_known(repeats: Repeats) -> None:
    found = repeats.find(LINE % 23 + BLOCK)
    assert found is not None
    assert found[:2] == (b"GET", b"/v1/kv/users/23")
    assert found[2] == {b"host": b"t", b"authorization": b"Bearer a"}
    found = repeats.find(POST + b"content-length: 3\r\n\r\nxyz")
    assert found is not None
    assert (found[0], found[3]) == (b"POST", b"xyz")


@pytest.mark.parametrize(
    "data",
    [
        LINE % 1 + BLOCK[:-1],
        LINE % 1 + BLOCK + b"x",
        LINE % 1 + BLOCK + LINE % 1 + BLOCK,
        LINE % 1 + BLOCK.replace(b"a\r\n\r\n", b"b\r\n\r\n"),
        LINE % 1 + b"x: y HTTP/1.1\r\n" + BLOCK,
        b"GET /v1/kv/users/1 HTTP/1.0\r\n" + BLOCK,
        b"GET /v1/kv/users/1 x HTTP/1.1\r\n" + BLOCK,
        b"GET /v1/kv/" + b"a" * 200 + b" HTTP/1.1\r\n" + BLOCK,
        b"HEAD /v1/kv/users/1 HTTP/1.1\r\n" + BLOCK,
        POST + b"content-length: 3\r\n\r\nab",
        POST + b"content-length: 3\r\n\r\nabcd",
        LINE % 1 + b"content-length: 3\r\n\r\nabc",
        b"",
        b"\x00\xff",
    ],
)
def test_anything_else_is_the_parsers(repeats: Repeats, data: bytes) -> None:
    assert repeats.find(data) is None


@pytest.mark.parametrize(
    "about",
    [
        headers(connection="close"),
        headers(transfer_encoding="chunked"),
        headers(expect="100-continue"),
        headers(content_length="0, 0"),
        headers(content_length="7"),
    ],
)
def test_headers_that_say_more_than_themselves_are_not_learned(about: Headers) -> None:
    repeats = Repeats(100)
    repeats.learn(LINE % 1 + BLOCK, about)
    assert repeats.find(LINE % 1 + BLOCK) is None
