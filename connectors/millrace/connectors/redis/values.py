"""The reading half of `layout`: what a reader asks Redis for, and how the answer becomes a row. No Arrow here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from millrace.connectors.redis.layout import Manifest
from millrace.connectors.redis.options import ValueLayout
from millrace.connectors.wire import json as json_wire
from millrace.connectors.wire import msgpack, protobuf, text
from millrace.connectors.wire.compression import Compression, decompressor

Row = dict[str, Any]

_DECODERS = {
    ValueLayout.PROTOBUF: protobuf.decoder,
    ValueLayout.JSON: json_wire.decoder,
    ValueLayout.MSGPACK: msgpack.decoder,
}


def get_command(manifest: Manifest) -> bytes:
    """The command that reads a row, its key to follow."""
    return b"HGETALL" if manifest.value is ValueLayout.HASH else b"GET"


def is_missing(raw: Any) -> bool:
    """Whether the answer says that there is no such row. An empty string is a row: one of nulls only, in Protobuf."""
    return raw is None or raw == []


def value_decoder(manifest: Manifest) -> Callable[[Any], Row]:
    """From what the store answers (never nil, never an empty hash) to the row, in the order of the fields."""
    if manifest.value is ValueLayout.HASH:
        from_texts = text.decoder(manifest.fields)

        def decode_hash(flat: Sequence[bytes]) -> Row:
            return from_texts(dict(zip(flat[::2], flat[1::2], strict=True)))

        return decode_hash
    decode = _DECODERS[manifest.value](manifest.fields)
    if manifest.compression is Compression.NONE:
        return decode
    decompress = decompressor(manifest.compression)

    def decode_compressed(raw: bytes) -> Row:
        return decode(decompress(raw))

    return decode_compressed
