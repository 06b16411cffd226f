"""HTTP/2 clients that a gRPC port meets: terse, clumsy, gone in the middle, hostile. Frames over a real socket."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import subprocess
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from hpack import Decoder, Encoder, HeaderTuple, NeverIndexedHeaderTuple
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from millrace.serving.grpc import frames
from millrace.serving.grpc.frames import Code, frame
from millrace.serving.grpc.headers import Blocks
from millrace.serving.grpc.schema import message
from millrace.serving.grpc.server import Limits
from tests.connectors.loads import people
from tests.servers.process import program
from tests.servers.redis import RedisServer
from tests.serving.grpc.running import Running, running
from tests.serving.publishing import Publisher, workspace
from tests.serving.waiting import until

HELLO = frames.PREFACE + frames.settings(())
CALL = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/millrace.v1.Kv/Get"),
    ("content-type", "application/grpc"),
]
GET = message("GetRequest")(api="user_profile", key=["7"]).SerializeToString()
BODY = b"\x00" + len(GET).to_bytes(4, "big") + GET
WHOLE = frames.END_HEADERS | frames.END_STREAM


def block(headers: Sequence[tuple[str, str]] = CALL) -> bytes:
    """A header block that leaves the table alone."""
    return b"".join(frames.literal(name.encode(), value.encode()) for name, value in headers)


def get(stream: int = 1) -> bytes:
    """A whole call."""
    return frame(frames.HEADERS, frames.END_HEADERS, stream, block()) + frame(
        frames.DATA, frames.END_STREAM, stream, BODY
    )


@pytest.fixture(scope="module")
def store() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, store: RedisServer) -> Iterator[Running]:
    """One for all: what a client does to its connection concerns no other."""
    with workspace(tmp_path_factory.mktemp("grpc"), store.url) as (settings, catalog):
        Publisher(catalog, store.url).publish(people(10))
        with running(settings, Limits(header_s=1, body_s=1, send_s=5, patience_per_tick=0)) as found:
            yield found


def connected(server: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


def conversation(server: Running, data: bytes, enough: int | None = None) -> list[tuple[int, int, int, bytes]]:
    """Kind, flags, stream and payload of the frames that come back, until the end, or until so many streams' end."""
    found: list[tuple[int, int, int, bytes]] = []
    rest = b""
    with connected(server) as sock, contextlib.suppress(ConnectionError):
        with contextlib.suppress(ConnectionError):  # hung up on in the middle: what was said before that can be read
            sock.sendall(data)
        while enough is None or sum(_ends(one) for one in found) < enough:
            part = sock.recv(65536)
            if not part:
                break
            rest += part
            while len(rest) >= 9 and len(rest) >= 9 + int.from_bytes(rest[:3], "big"):
                high, low, kind, flags, stream = struct.unpack_from(">HBBBL", rest)
                end = 9 + (high << 8 | low)
                found.append((kind, flags, stream, rest[9:end]))
                rest = rest[end:]
    return found


def _ends(one: tuple[int, int, int, bytes]) -> bool:
    kind, flags, stream, _ = one
    return bool(stream) and (kind == frames.RST_STREAM or bool(flags & frames.END_STREAM and kind != frames.PING))


def codes(found: Sequence[tuple[int, int, int, bytes]], kind: int) -> list[int]:
    """The codes of GOAWAY or RST_STREAM frames."""
    start = 4 if kind == frames.GOAWAY else 0
    return [int.from_bytes(payload[start : start + 4], "big") for one, _, _, payload in found if one == kind]


def status(found: Sequence[tuple[int, int, int, bytes]]) -> grpc.StatusCode:
    """The status of the one call that was answered, by its trailers alone."""
    block = next(payload for kind, _, _, payload in found if kind == frames.HEADERS)
    number = next(int(value) for name, value in Decoder().decode(block, raw=True) if bytes(name) == b"grpc-status")
    return next(code for code in grpc.StatusCode if code.value[0] == number)


def is_served(server: Running) -> bool:
    """Whether others get their answers."""
    found = conversation(server, HELLO + get(), 1)
    return any(kind == frames.DATA and b"person 7" in payload for kind, _, _, payload in found)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"GET / HTTP/1.1\r\nhost: t\r\n\r\n", Code.PROTOCOL_ERROR),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Code.PROTOCOL_ERROR),
        (HELLO + b"\xff\xff\xff" + bytes(6), Code.FRAME_SIZE_ERROR),
        (HELLO + frame(frames.SETTINGS, 0, 0, b"12345"), Code.FRAME_SIZE_ERROR),
        (HELLO + frame(frames.SETTINGS, 0, 1), Code.PROTOCOL_ERROR),
        (HELLO + frames.settings(((frames.ENABLE_PUSH, 2),)), Code.PROTOCOL_ERROR),
        (HELLO + frames.settings(((frames.INITIAL_WINDOW_SIZE, 1 << 31),)), Code.FLOW_CONTROL_ERROR),
        (HELLO + frames.settings(((frames.MAX_FRAME_SIZE, 1),)), Code.PROTOCOL_ERROR),
        (HELLO + frame(frames.PING, 0, 0, b"short"), Code.FRAME_SIZE_ERROR),
        (HELLO + frame(frames.DATA, 0, 1, b"x"), Code.PROTOCOL_ERROR),
        (HELLO + frame(frames.RST_STREAM, 0, 1, bytes(4)), Code.PROTOCOL_ERROR),
        (HELLO + frames.window_update(0, 0), Code.PROTOCOL_ERROR),
        (HELLO + frames.window_update(0, frames.LARGEST_WINDOW), Code.FLOW_CONTROL_ERROR),
        (HELLO + frame(frames.PUSH_PROMISE, 0, 1, bytes(4)), Code.PROTOCOL_ERROR),
        (HELLO + frame(frames.PRIORITY, 0, 1, b"1"), Code.FRAME_SIZE_ERROR),
        (HELLO + frame(frames.CONTINUATION, 0, 1, b""), Code.PROTOCOL_ERROR),
        (HELLO + frame(frames.HEADERS, 0, 1, block()) + frame(frames.PING, 0, 0, bytes(8)), Code.PROTOCOL_ERROR),
        (HELLO + frame(frames.HEADERS, WHOLE, 2, block()), Code.PROTOCOL_ERROR),
        (HELLO + frame(frames.HEADERS, WHOLE, 1, b"\xff\xff\xff\xff\xff\xff"), Code.COMPRESSION_ERROR),
        (HELLO + frame(frames.HEADERS, WHOLE, 1, b"\x80"), Code.COMPRESSION_ERROR),
        (HELLO + frame(frames.HEADERS, WHOLE | frames.PADDED, 1, b"\xff"), Code.PROTOCOL_ERROR),
        (HELLO + frame(frames.HEADERS, WHOLE | frames.PADDED, 1), Code.FRAME_SIZE_ERROR),
    ],
)
def test_who_breaks_the_protocol_is_told_how_and_disturbs_nobody(server: Running, data: bytes, code: Code) -> None:
    assert codes(conversation(server, data), frames.GOAWAY) == [code]
    assert is_served(server)


@pytest.mark.parametrize(
    "headers",
    [
        CALL[1:],
        [*CALL, (":path", "/again")],
        [*CALL, ("Upper", "case")],
        [*CALL, ("connection", "close")],
        [*CALL, ("grpc-timeout", "soon")],
        [*CALL, ("x", "1"), (":authority", "late")],
        [*CALL, ("x", "line\nbreak")],
    ],
)
def test_a_malformed_request_ends_its_stream_alone(server: Running, headers: list[tuple[str, str]]) -> None:
    bad = frame(frames.HEADERS, WHOLE, 1, block(headers))
    found = conversation(server, HELLO + bad + get(3), 2)
    assert codes(found, frames.RST_STREAM) == [Code.PROTOCOL_ERROR]
    assert any(kind == frames.DATA and stream == 3 for kind, _, stream, _ in found)


@pytest.mark.parametrize(
    ("headers", "status"),
    [([(":method", "GET"), *CALL[1:]], b"405"), ([*CALL[:3], ("content-type", "text/plain")], b"415")],
)
def test_what_is_no_grpc_gets_a_plain_status(server: Running, headers: list[tuple[str, str]], status: bytes) -> None:
    found = conversation(server, HELLO + frame(frames.HEADERS, WHOLE, 1, block(headers)), 1)
    assert [payload for kind, _, _, payload in found if kind == frames.HEADERS] == [frames.literal(b":status", status)]


@pytest.mark.parametrize("body", [b"", b"\x00\x00", BODY + b"x", b"\x02" + BODY[1:], b"\x01" + BODY[1:]])
def test_a_request_that_is_not_one_message_gets_a_status(server: Running, body: bytes) -> None:
    call = frame(frames.HEADERS, frames.END_HEADERS, 1, block()) + frame(frames.DATA, frames.END_STREAM, 1, body)
    found = conversation(server, HELLO + call, 1)
    assert status(found) in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INTERNAL)


@pytest.mark.parametrize(
    ("own", "taken", "packed"),
    [
        ("gzip", "identity, deflate, gzip", True),
        ("deflate", "deflate,gzip", True),
        ("identity", "identity, deflate, gzip", False),
        ("gzip", "identity", False),
        ("snappy", "snappy", False),
    ],
)
def test_answers_are_compressed_for_who_compresses_and_takes_it(
    server: Running, own: str, taken: str, packed: bool
) -> None:
    request = message("MultiGetRequest")(api="user_profile", keys=["7"] * 300).SerializeToString()
    headers = [*CALL[:2], (":path", "/millrace.v1.Kv/MultiGet"), CALL[3]]
    headers += [("grpc-encoding", own), ("grpc-accept-encoding", taken)]
    body = b"\x00" + len(request).to_bytes(4, "big") + request
    asked = frame(frames.HEADERS, frames.END_HEADERS, 1, block(headers)) + frame(
        frames.DATA, frames.END_STREAM, 1, body
    )
    found = conversation(server, HELLO + asked, 1)
    begun = next(payload for kind, _, _, payload in found if kind == frames.HEADERS)
    assert (own.encode() in begun) is packed
    answer = b"".join(payload for kind, _, _, payload in found if kind == frames.DATA)
    assert (answer[0], int.from_bytes(answer[1:5], "big")) == (packed, len(answer) - 5)
    rows = zlib.decompress(answer[5:], 31 if own == "gzip" else 15) if packed else answer[5:]
    assert len(message("Rows").FromString(rows).values) == 300


def test_a_call_may_come_in_any_pieces(server: Running) -> None:
    whole = block()
    pieces = frame(frames.HEADERS, 0, 1, whole[:7]) + b"".join(
        frame(frames.CONTINUATION, 0, 1, whole[place : place + 1]) for place in range(7, len(whole))
    )
    pieces += frame(frames.CONTINUATION, frames.END_HEADERS, 1)
    pieces += b"".join(
        frame(frames.DATA, frames.PADDED, 1, b"\x02" + BODY[i : i + 1] + b"\0\0") for i in range(len(BODY))
    )
    pieces += frame(frames.HEADERS, WHOLE, 1, frames.literal(b"a-trailer", b"of the client"))
    with connected(server) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for place in range(0, len(HELLO + pieces), 3):
            sock.sendall((HELLO + pieces)[place : place + 3])
        answer = b""
        while b"person 7" not in answer:
            answer += sock.recv(65536)


def test_an_answer_goes_out_as_the_client_takes_it(server: Running) -> None:
    narrow = frames.PREFACE + frames.settings(((frames.INITIAL_WINDOW_SIZE, 3),))
    with connected(server) as sock:
        sock.sendall(narrow + get())
        answer = b""
        while (
            frame(frames.DATA, 0, 1, BODY[:0]) not in answer and b"\x00\x00\x03\x00\x00\x00\x00\x00\x01" not in answer
        ):
            answer += sock.recv(65536)
        assert b"person 7" not in answer
        sock.sendall(frames.window_update(1, 1000))
        while b"son 7" not in answer:
            answer += sock.recv(65536)


def test_rapid_resets_end_the_connection_and_disturb_nobody(server: Running) -> None:
    """CVE-2023-44487: a call begun and reset costs the client nothing, and the server work."""
    calls = b"".join(get(stream) + frames.reset(stream, Code.CANCEL) for stream in range(1, 6001, 2))
    assert codes(conversation(server, HELLO + calls), frames.GOAWAY) == [Code.ENHANCE_YOUR_CALM]
    until(lambda: server.in_flight() == 0)
    assert is_served(server)


@pytest.mark.parametrize(
    "flood",
    [
        frame(frames.PING, 0, 0, bytes(8)) * 11_000,
        frames.settings(()) * 11_000,
        frame(frames.HEADERS, 0, 1) + frame(frames.CONTINUATION, 0, 1) * 11_000,
        frame(frames.HEADERS, 0, 1) + frame(frames.CONTINUATION, 0, 1, bytes(16_000)) * 3,
        frame(frames.HEADERS, frames.END_HEADERS, 1, block()) + frame(frames.DATA, 0, 1) * 11_000,
        frame(frames.PRIORITY, 0, 1, bytes(5)) * 11_000,
    ],
    ids=["pings", "settings", "empty continuations", "long continuations", "empty data", "priorities"],
)
def test_floods_of_frames_end_the_connection(server: Running, flood: bytes) -> None:
    assert codes(conversation(server, HELLO + flood), frames.GOAWAY) == [Code.ENHANCE_YOUR_CALM]
    assert is_served(server)


def test_a_header_list_that_swells_is_refused(server: Running) -> None:
    """A table entry of 3,000 bytes, named ten times in ten bytes."""
    bomb = b"\x40" + frames.literal(b"x", b"a" * 3000)[1:] + b"\xbe" * 10
    assert codes(conversation(server, HELLO + frame(frames.HEADERS, WHOLE, 1, bomb)), frames.GOAWAY) == [
        Code.COMPRESSION_ERROR
    ]


@pytest.mark.parametrize("half", [frames.PREFACE[:10], HELLO + get()[:5], HELLO + frame(frames.HEADERS, 0, 1, block())])
def test_who_never_finishes_a_frame_is_hung_up_on(server: Running, half: bytes) -> None:
    assert codes(conversation(server, half), frames.GOAWAY) == [Code.NO_ERROR]


def test_a_request_that_never_ends_is_given_up(server: Running) -> None:
    found = conversation(server, HELLO + frame(frames.HEADERS, frames.END_HEADERS, 1, block()), 1)
    assert status(found) is grpc.StatusCode.DEADLINE_EXCEEDED


def test_who_is_gone_in_the_middle_frees_the_slots_of_its_calls(server: Running, store: RedisServer) -> None:
    store.pause()
    try:
        with connected(server) as sock:
            sock.sendall(HELLO + b"".join(get(stream) for stream in range(1, 200, 2)))
            until(lambda: server.in_flight() == 100)
        until(lambda: server.in_flight() == 0)
    finally:
        store.resume()
    assert is_served(server)


def test_h2load_gets_every_answer(server: Running, tmp_path: Path) -> None:
    body = tmp_path / "request"
    body.write_bytes(BODY)
    command = [str(program("h2load", package="nghttp2-client")), "-n2000", "-c8", "-m50", "-t1", "-d", str(body)]
    command += ["-H", "content-type: application/grpc", f"http://127.0.0.1:{server.port}/millrace.v1.Kv/Get"]
    found = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
    assert re.search(r"2000 succeeded, 0 failed, 0 errored", found), found


_NAMES = st.sampled_from(["authorization", "grpc-timeout", "user-agent", "x-a", "x-b"])
_HEADERS = st.lists(st.tuples(_NAMES, st.sampled_from(["1S", "2S", "a" * 900]), st.booleans()), max_size=4)


@examples(max_examples=150, deadline=None)
@given(st.lists(st.tuples(_HEADERS, st.sampled_from([None, 0, 200, 4096]), st.booleans()), max_size=12))
def test_blocks_that_come_again_mean_what_they_say(calls: list[tuple[Any, int | None, bool]]) -> None:
    """Against a decoder that remembers nothing, for an encoder whose table changes now and then."""
    encoder, plain, blocks = Encoder(), Decoder(), Blocks()
    for more, table_size, huffman in calls:
        if table_size is not None:
            encoder.header_table_size = table_size
        headers = [NeverIndexedHeaderTuple(n, v) if never else HeaderTuple(n, v) for n, v, never in more]
        encoded = encoder.encode([*(HeaderTuple(*pair) for pair in CALL), *headers], huffman=huffman)
        said = {bytes(name): bytes(value) for name, value in plain.decode(encoded, raw=True)}
        timeout = said.get(b"grpc-timeout", b"1S")
        if len(timeout) > 2:
            with pytest.raises(frames.StreamFault):
                blocks.opening(encoded)
            continue
        opening = blocks.opening(encoded)
        assert opening.path == b"/millrace.v1.Kv/Get"
        assert opening.authorization == said.get(b"authorization", b"").decode()
        assert (opening.timeout_s or 1.0) == float(timeout[:1])


_PIECES = st.sampled_from(
    [
        get(1),
        get(3),
        frames.settings(((frames.INITIAL_WINDOW_SIZE, 0),)),
        frames.window_update(1, 5),
        frames.reset(1, Code.CANCEL),
        frame(frames.HEADERS, 0, 5, block()),
        frame(frames.CONTINUATION, frames.END_HEADERS, 5),
        frame(frames.DATA, frames.PADDED, 1, b"\x01"),
        frame(frames.PING, 0, 0, bytes(8)),
        frames.goaway(0, Code.NO_ERROR),
        b"\x00",
        b"\xff\xff",
    ]
)


@examples(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=100), st.lists(_PIECES, max_size=10).map(b"".join)))
def test_no_frames_bring_the_server_down(server: Running, data: bytes) -> None:
    conversation(server, HELLO + data + b"\xff" * 9)
    assert is_served(server)
