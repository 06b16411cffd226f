"""Bodies on the wire: requests that come chunked or compressed, responses that go so; and what a failure looks like."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from email.message import Message
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from millrace.connectors.clickhouse.server.engine import EngineError

if TYPE_CHECKING:
    import pyarrow as pa

_READ_BYTES = 1 << 20
#: Encodings of HTTP, the fastest first, as Arrow calls them.
_CODECS: Mapping[str, Literal["lz4", "zstd", "gzip", "brotli"]] = {
    "lz4": "lz4",
    "zstd": "zstd",
    "gzip": "gzip",
    "br": "brotli",
}

#: HTTP status by error code, 500 for all others (ClickHouse: src/Server/HTTP/exceptionCodeToHTTPStatus.cpp).
_STATUS: Mapping[int, tuple[int, ...]] = {
    401: (194,),
    403: (192, 193, 497, 512, 516),
    400: (6, 8, 15, 25, 26, 27, 36, 37, 38, 41, 44, 53, 62, 72, 117, 123, 167, 168, 223, 321, 376, 427, 441, 675, 676),
    404: (46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511),
    413: (229,),
    501: (48,),
    503: (76, 209, 439),
    411: (381,),
    408: (159,),
}
_STATUS_OF = {code: status for status, codes in _STATUS.items() for code in codes}
_CONTENT_TYPES = {
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "Native": "application/octet-stream",
    "RowBinary": "application/octet-stream",
    "Arrow": "application/octet-stream",
    "ArrowStream": "application/octet-stream",
    "Parquet": "application/octet-stream",
}


def http_status(code: int) -> int:
    """The HTTP status that ClickHouse answers with for an error code."""
    return _STATUS_OF.get(code, 500)


def content_type(form: str) -> str:
    return _CONTENT_TYPES.get(form, "text/plain; charset=UTF-8")


def read_body(stream: BinaryIO, headers: Message) -> Iterator[bytes]:
    """The request's body piece by piece, as it was before it was chunked and compressed.

    Raises EngineError for an encoding that isn't known, or for data that is not of it.
    """
    if "chunked" in headers.get("Transfer-Encoding", "").lower():
        pieces = _read_chunked(stream)
    else:
        pieces = _read_sized(stream, headers.get("Content-Length") or "0")
    encoding = headers.get("Content-Encoding", "").strip().lower()
    return pieces if encoding in ("", "identity") else _decoded(pieces, encoding)


def choose_encoding(accepted: str) -> str:
    """The encoding of a response: the fastest that the client takes, or none."""
    offered = {part.partition(";")[0].strip().lower() for part in accepted.split(",")}
    return next((name for name in _CODECS if name in offered), "")


class Encoder:
    """Encodes a response piece by piece, so that a client can open each as it comes; no encoding leaves it as it is."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._sink = _Sink()
        self._stream: pa.CompressedOutputStream | None = None
        if name:
            import pyarrow as pa

            self._stream = pa.CompressedOutputStream(pa.PythonFile(self._sink, mode="w"), _CODECS[name])

    def add(self, piece: bytes) -> bytes:
        if self._stream is None:
            return piece
        self._stream.write(piece)
        self._stream.flush()
        return self._sink.take()

    def end(self) -> bytes:
        if self._stream is None:
            return b""
        self._stream.close()
        return self._sink.take()


def error_text(error: EngineError, version: str) -> bytes:
    """The body of an error response."""
    text = error.text.rstrip()
    if "(version " not in text:
        text = f"{text} (version {version})"
    return text.encode() + b"\n"


def late_error(error: EngineError, version: str, tag: str) -> bytes:
    """How a body that was begun tells that its statement failed (ClickHouse 25.11 and later)."""
    text = error_text(error, version)
    end = tag.encode()
    return b"\r\n__exception__\r\n%b\r\n%b%d %b\r\n__exception__\r\n" % (end, text, len(text), end)


def _read_sized(stream: BinaryIO, length: str) -> Iterator[bytes]:
    if not (length.isascii() and length.isdigit()):
        raise ConnectionResetError(f"the request's length is '{length}'")
    left = int(length)
    while left:
        piece = stream.read(min(left, _READ_BYTES))
        if not piece:
            raise ConnectionResetError("the client left before its request was complete")
        left -= len(piece)
        yield piece


def _read_chunked(stream: BinaryIO) -> Iterator[bytes]:
    while True:
        line = stream.readline(1 << 16)
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError:
            raise ConnectionResetError("the client left before its request was complete") from None
        if size == 0:
            while stream.readline(1 << 16).strip():
                pass
            return
        yield from _read_sized(stream, str(size))
        stream.readline(8)


def _decoded(pieces: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    codec = _CODECS.get(encoding)
    if codec is None:
        text = f"Unknown encoding '{encoding}' of the request, known are {', '.join(_CODECS)}"
        raise EngineError.make(48, "NOT_IMPLEMENTED", text)
    import pyarrow as pa

    stream = pa.CompressedInputStream(pa.PythonFile(_Pieces(pieces), mode="r"), codec)
    while True:
        try:
            found = stream.read(_READ_BYTES)
        except ConnectionError:
            raise
        except OSError as error:
            raise EngineError.make(117, "INCORRECT_DATA", f"The request's body is not {encoding}: {error}") from None
        if not found:
            return
        yield found


class _Pieces(io.RawIOBase):
    """Pieces of bytes as a file that is read from its beginning to its end."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._rest = piece
        end = size if size >= 0 else len(self._rest)
        found, self._rest = self._rest[:end], self._rest[end:]
        return found


class _Sink(io.RawIOBase):
    """A file that remembers what was written until it is taken; closing it changes nothing."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        found, self._pieces = b"".join(self._pieces), []
        return found
