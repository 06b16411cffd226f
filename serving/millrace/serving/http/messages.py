"""A request as endpoints see it, a response as they give it, and its bytes. Pure."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TypeAlias
from urllib.parse import parse_qsl, unquote_to_bytes

from millrace.serving.refusals import Refused

Header: TypeAlias = tuple[bytes, bytes]

_STATUS_LINES = {s.value: b"HTTP/1.1 %d %b\r\n" % (s.value, s.phrase.encode()) for s in HTTPStatus}
JSON = b"application/json"


@dataclass(slots=True)
class Request:
    """One whole request. Header names are in lower case; a header that came several times is joined by `, `."""

    method: str
    target: bytes
    headers: Mapping[bytes, bytes]
    body: bytes = b""
    peer: str = ""

    @property
    def path(self) -> bytes:
        """The path as it was sent, without the query."""
        return self.target.partition(b"?")[0]

    def segments(self) -> list[str]:
        """The path's parts, each percent-decoded. Raises Refused for what isn't UTF-8."""
        return [decoded(part) for part in self.path.split(b"/")[1:]]

    def query(self) -> dict[str, str]:
        """The query's parameters; the last one of a name counts. Raises Refused for what can't be read."""
        try:
            text = self.target.partition(b"?")[2].decode("ascii")
            return dict(parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), errors="strict"))
        except ValueError:
            raise Refused("the query of the address can't be read", hint="write it like ?a=1&b=2, in UTF-8") from None

    def header(self, name: bytes) -> str:
        """A header's value, "" without it."""
        return self.headers.get(name, b"").decode("latin-1")


@dataclass(slots=True)
class Response:
    """What goes back. A body that is an iterator is sent in chunks as it comes, and closed when the client leaves.

    `trailers` are asked for when such a body has ended.
    """

    status: int = 200
    body: bytes | AsyncIterator[bytes] = b""
    content_type: bytes = JSON
    headers: Sequence[Header] = field(default_factory=tuple)
    trailers: Callable[[], Sequence[Header]] | None = None


def decoded(part: bytes) -> str:
    """A percent-encoded part of an address as text. Raises Refused for what isn't UTF-8."""
    try:
        return (unquote_to_bytes(part) if b"%" in part else part).decode()
    except UnicodeDecodeError:
        raise Refused(
            f"the address holds {part!r}, which is not UTF-8", hint="percent-encode keys as UTF-8, e.g. caf%C3%A9"
        ) from None


def head(response: Response, length: int | None, *, keep_alive: bool) -> bytes:
    """The status line and all headers; `length` None for a body that ends in chunks, or with the connection."""
    lines = [_STATUS_LINES[response.status]]
    if length is None:
        lines.append(b"transfer-encoding: chunked\r\n" if keep_alive else b"")
    elif response.status not in (204, 304):
        lines.append(b"content-length: %d\r\n" % length)
    if response.content_type and (length is None or length):
        lines.append(b"content-type: %b\r\n" % response.content_type)
    lines += [b"%b: %b\r\n" % pair for pair in response.headers]
    if not keep_alive:
        lines.append(b"connection: close\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def last_chunk(trailers: Sequence[Header] = ()) -> bytes:
    """The end of a chunked body, with its trailers (RFC 9112, 7.1.2)."""
    return b"0\r\n" + b"".join(b"%b: %b\r\n" % pair for pair in trailers) + b"\r\n"
