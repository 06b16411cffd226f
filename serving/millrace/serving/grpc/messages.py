"""gRPC's messages as they stand in DATA: a flag, a length, the bytes; perhaps compressed."""

from __future__ import annotations

import zlib

from millrace.serving.grpc.statuses import CallFault, Status

MOST_BYTES = 8 << 20
LONG = 256 * 1024  # bytes that take milliseconds to compress
_WORTH_PACKING = 1024
_HEAD_BYTES = 5
_LEVEL = 1  # three times as fast as zlib's own choice, and nearly as small
_WINDOW_BITS = {b"gzip": 31, b"deflate": 15}


def whole(data: bytes | bytearray, encoding: bytes) -> bytes:
    """The one message of a unary call. Raises CallFault."""
    if len(data) < _HEAD_BYTES or len(data) != _HEAD_BYTES + int.from_bytes(data[1:5], "big"):
        raise CallFault(Status.INTERNAL, "the call has not exactly one whole message")
    return opened(data[0], bytes(data[_HEAD_BYTES:]), encoding)


def check_size(data: bytes | bytearray) -> None:
    """Refuse a message that says it is too long, before it has come. Raises CallFault."""
    if len(data) >= _HEAD_BYTES and int.from_bytes(data[1:5], "big") > MOST_BYTES:
        raise CallFault(Status.RESOURCE_EXHAUSTED, f"a message of more than {MOST_BYTES} bytes")


def split(data: bytearray) -> tuple[int, bytes] | None:
    """Take the first whole message off: its flag and bytes. None when it isn't all there."""
    check_size(data)
    end = _HEAD_BYTES + int.from_bytes(data[1:5], "big")
    if len(data) < _HEAD_BYTES or len(data) < end:
        return None
    flag, message = data[0], bytes(data[_HEAD_BYTES:end])
    del data[:end]
    return flag, message


def opened(flag: int, message: bytes, encoding: bytes) -> bytes:
    """A message with its compression undone, of bounded size. Raises CallFault."""
    if not flag:
        return message
    bits = _WINDOW_BITS.get(encoding)
    if flag != 1 or bits is None:
        raise CallFault(
            Status.UNIMPLEMENTED, "this server takes plain messages, and those compressed by gzip or deflate"
        )
    unpack = zlib.decompressobj(bits)
    try:
        found = unpack.decompress(message, MOST_BYTES)
    except zlib.error as error:
        raise CallFault(Status.INTERNAL, f"a message can't be decompressed: {error}") from None
    if unpack.unconsumed_tail:
        raise CallFault(Status.RESOURCE_EXHAUSTED, f"a message of more than {MOST_BYTES} bytes")
    if not unpack.eof:
        raise CallFault(Status.INTERNAL, "a compressed message is cut off")
    return found


def packing_of(encoding: bytes, accepted: bytes) -> bytes:
    """What a call's answers are compressed by: the same as its requests, if the client takes it; b"" for nothing.

    Clients say that they take gzip whether anybody wants it or not. One that compresses has a reason to.
    """
    taken = {name.strip() for name in accepted.split(b",")}
    return encoding if encoding in _WINDOW_BITS and encoding in taken else b""


def framed(message: bytes, packing: bytes = b"") -> bytes:
    """A message as it goes out; compressed if that is worth it."""
    if packing and len(message) >= _WORTH_PACKING:
        packed = zlib.compress(message, _LEVEL, _WINDOW_BITS[packing])
        if len(packed) < len(message):
            return b"\x01" + len(packed).to_bytes(4, "big") + packed
    return b"\x00" + len(message).to_bytes(4, "big") + message
