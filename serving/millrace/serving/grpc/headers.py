"""Header blocks of requests, and what gRPC says in them; blocks of answers.

Most calls of a client come with the same headers in the same bytes. A block that left the connection's dynamic table as
it was means the same until that table changes: it is decoded once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

from hpack import Decoder
from hpack.exceptions import HPACKError

from millrace.serving.grpc.frames import Code, ConnectionFault, StreamFault, literal
from millrace.serving.grpc.messages import packing_of

MOST_HEADER_BYTES = 16_384
_MOST_KNOWN = 64
_LONGEST_KNOWN = 2_048
_LONGEST_TEXT = 4_096

_UNITS_S = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_TIMEOUT = re.compile(r"(\d{1,8})([HMSmun])")
_OF_CONNECTIONS = {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
_PSEUDO = {b":method", b":path", b":scheme", b":authority"}
_STATUS_200 = b"\x88"  # entry 8 of the static table

#: The block that begins an answer.
BEGIN = _STATUS_200 + literal(b"content-type", b"application/grpc")
#: The blocks that do, by what compresses the messages behind them.
BEGIN_WITH = {b"": BEGIN, **{name: BEGIN + literal(b"grpc-encoding", name) for name in (b"gzip", b"deflate")}}
#: The block that ends a good one.
END_OK = literal(b"grpc-status", b"0")


@dataclass(frozen=True, slots=True)
class Opening:
    """What a call's headers say."""

    path: bytes
    authorization: str = ""
    timeout_s: float | None = None
    encoding: bytes = b""  # of its requests, where they are compressed
    packing: bytes = b""  # of its answers
    trace: tuple[tuple[bytes, bytes], ...] = ()


class NotGrpc(Exception):
    """A request that is HTTP/2 but no gRPC; `status` is the HTTP status of its answer."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP status {status}")
        self.status = status


class Blocks:
    """The blocks of one connection, in the order in which they come."""

    def __init__(self) -> None:
        self._decoder = Decoder(MOST_HEADER_BYTES)
        self._known: dict[bytes, Opening] = {}

    def opening(self, block: bytes) -> Opening:
        """Raises ConnectionFault for a broken block, StreamFault for a malformed request, NotGrpc for another one."""
        found = self._known.get(block)
        if found is not None:
            return found
        headers, lasting = self._decoded(block)
        found = _opening(headers)
        if lasting and len(block) <= _LONGEST_KNOWN:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[block] = found
        return found

    def skip(self, block: bytes) -> None:
        """A block of which only the table's changes matter: trailers, or one for a stream that is gone."""
        self._decoded(block)

    def _decoded(self, block: bytes) -> tuple[list[tuple[bytes, bytes]], bool]:
        """The block's headers, and whether the table is as it was: a new entry is another tuple, and stands first."""
        table = self._decoder.header_table.dynamic_entries
        size, first = len(table), table[0] if table else None
        try:
            headers = [(bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True)]
        except (HPACKError, IndexError) as error:
            raise ConnectionFault(Code.COMPRESSION_ERROR, f"a header block can't be read: {error}") from error
        table = self._decoder.header_table.dynamic_entries
        resized = block[:1] != b"" and block[0] & 0xE0 == 0x20
        lasting = not resized and len(table) == size and (table[0] if table else None) is first
        if not lasting:
            self._known.clear()
        return headers, lasting


def _opening(headers: Iterable[tuple[bytes, bytes]]) -> Opening:
    pseudo: dict[bytes, bytes] = {}
    plain: dict[bytes, bytes] = {}
    for name, value in headers:
        if name[:1] == b":":
            if plain or name in pseudo or name not in _PSEUDO:
                raise StreamFault(Code.PROTOCOL_ERROR)
            pseudo[name] = value
        elif not name or name != name.lower() or name in _OF_CONNECTIONS or b"\n" in value or b"\0" in value:
            raise StreamFault(Code.PROTOCOL_ERROR)
        else:
            plain[name] = value
    if not pseudo.get(b":path") or b":method" not in pseudo or b":scheme" not in pseudo:
        raise StreamFault(Code.PROTOCOL_ERROR)
    if pseudo[b":method"] != b"POST":
        raise NotGrpc(405)
    if not plain.get(b"content-type", b"").startswith(b"application/grpc"):
        raise NotGrpc(415)
    return Opening(
        path=pseudo[b":path"],
        authorization=plain.get(b"authorization", b"").decode("latin-1"),
        timeout_s=_timeout_s(plain.get(b"grpc-timeout")),
        encoding=(encoding := plain.get(b"grpc-encoding", b"")),
        packing=packing_of(encoding, plain.get(b"grpc-accept-encoding", b"")),
        trace=tuple((name, plain[name]) for name in (b"traceparent", b"tracestate") if name in plain),
    )


def _timeout_s(text: bytes | None) -> float | None:
    """The seconds of a `grpc-timeout`: at most eight digits and a unit."""
    if text is None:
        return None
    found = _TIMEOUT.fullmatch(text.decode("latin-1"))
    if found is None:
        raise StreamFault(Code.PROTOCOL_ERROR)
    return int(found[1]) * _UNITS_S[found[2]]


def end_block(code: int, text: str = "", more: Iterable[tuple[str, str]] = ()) -> bytes:
    """The block that ends an answer. The text is percent-encoded, as gRPC's `grpc-message` is."""
    found = literal(b"grpc-status", b"%d" % code)
    if text:
        found += literal(b"grpc-message", quote(text[:_LONGEST_TEXT], safe=" !\"#$&'()*+,/:;<=>?@[\\]^`{|}").encode())
    return found + b"".join(literal(name.encode(), value.encode()) for name, value in more)


def status_block(status: int) -> bytes:
    """The one block of an answer to what is no gRPC."""
    return literal(b":status", b"%d" % status)
