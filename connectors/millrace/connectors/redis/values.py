"""The reading half of `layout`: what a reader asks Redis for, and how the answer becomes a row. No Arrow here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias, TypeVar, cast

from millrace.connectors.redis.layout import Manifest
from millrace.connectors.redis.members import collection_decoder
from millrace.connectors.redis.options import ValueLayout
from millrace.connectors.wire import json as json_wire
from millrace.connectors.wire import msgpack, protobuf, text
from millrace.connectors.wire.compression import Compression, decompressor
from millrace.connectors.wire.speedups import number_keys
from millrace.spec.types import Kind

_READ: Mapping[ValueLayout, bytes] = {
    ValueLayout.HASH: b"HGETALL",
    ValueLayout.SORTED_SET: b"ZREVRANGE",
    ValueLayout.LIST: b"LRANGE",
    ValueLayout.SET: b"SMEMBERS",
}
_READ_MORE: Mapping[ValueLayout, tuple[bytes, ...]] = {
    ValueLayout.SORTED_SET: (b"0", b"-1", b"WITHSCORES"),
    ValueLayout.LIST: (b"0", b"-1"),
}
T = TypeVar("T")
Row = dict[str, Any]
#: The value of a key's one column, or of all its columns: in the template's order, or by name.
Key: TypeAlias = Any | Sequence[Any] | Mapping[str, Any]

_SEVERAL = (list, tuple, Mapping)
_SURE_DIGITS, _ZERO = 10, ord("0")  # fewer digits than this fit an int
_DIGITS_AND_COMMA = b"0123456789,"
_SURE_MIN, _SURE_MAX = -(1 << 31), (1 << 31) - 1  # what an int and a bigint column both hold

_DECODERS = {
    ValueLayout.PROTOBUF: protobuf.decoder,
    ValueLayout.JSON: json_wire.decoder,
    ValueLayout.MSGPACK: msgpack.decoder,
}


def key_maker(manifest: Manifest) -> Callable[[Key], bytes]:
    """A function from a key, as a caller gives it, to the whole key in Redis; quick for one integer or text column.

    It raises ValueError when the key doesn't fit the template's columns.
    """
    template, types = manifest.whole_key, manifest.types

    def make(key: Key) -> bytes:
        return template.fill(types, key if isinstance(key, _SEVERAL) else (key,))

    if (one := _one_column(manifest)) is None:
        return make
    kind, before, after = one

    def make_from_integer(key: Key) -> bytes:
        if type(key) is int and _SURE_MIN <= key <= _SURE_MAX:
            return b"%b%d%b" % (before, key, after)
        return make_from_digits(key.encode()) if type(key) is str else make(key)

    def make_from_digits(text: bytes) -> bytes:
        if text.isdigit() and len(text) < _SURE_DIGITS and text[0] != _ZERO:
            return before + text + after
        return make(text.decode())

    def make_from_text(key: Key) -> bytes:
        return before + key.encode() + after if type(key) is str else make(key)

    return _by_kind(kind, make_from_integer, make_from_text, make)


def keys_maker(manifest: Manifest) -> Callable[[Sequence[Key]], list[bytes]]:
    """`key_maker` for many keys: by column, where it is one of integers or text and each key is plainly that."""
    make = key_maker(manifest)
    if (one := _one_column(manifest)) is None:
        return lambda keys: [*map(make, keys)]
    kind, before, after = one

    def make_from_integers(keys: Sequence[Key]) -> list[bytes]:
        if type(keys) is list and {*map(type, keys)} == {int} and min(keys) >= _SURE_MIN and max(keys) <= _SURE_MAX:
            texts = repr(keys)[1:-1].encode().split(b", ")
            return [before + text + after for text in texts] if after else [before + text for text in texts]
        return make_from_digits(keys) or [*map(make, keys)]

    def make_from_digits(keys: Sequence[Key]) -> list[bytes]:
        """Of texts that are whole numbers as they are usually written; none when one of them is anything else."""
        if {*map(type, keys)} != {str}:
            return []
        texts = cast(Sequence[str], keys)
        whole, lengths = "".join(texts), [*map(len, texts)]
        if not (whole.isascii() and whole.isdigit() and min(lengths) > 0 and max(lengths) < _SURE_DIGITS):
            return []
        return [] if any(text[0] == "0" for text in texts) else [before + text.encode() + after for text in texts]

    def make_from_texts(keys: Sequence[Key]) -> list[bytes]:
        if {*map(type, keys)} == {str}:
            return [before + text.encode() + after for text in cast(Sequence[str], keys)]
        return [*map(make, keys)]

    return _by_kind(kind, make_from_integers, make_from_texts, lambda keys: [*map(make, keys)])


def text_key_maker(manifest: Manifest) -> Callable[[bytes], bytes]:
    """The same from the text of a key of one column, as it stands in an address: quick for plain digits and ASCII."""
    template, types = manifest.whole_key, manifest.types
    if (one := _one_column(manifest)) is None:
        needed = ", ".join(template.columns)

        def refuse(text: bytes) -> bytes:
            raise ValueError(f"the key needs {needed}; got one value, {text.decode(errors='replace')!r}")

        return refuse
    kind, before, after = one

    def make(text: bytes) -> bytes:
        return template.fill(types, (_utf8(text),))

    def make_from_digits(text: bytes) -> bytes:
        if text.isdigit() and len(text) < _SURE_DIGITS and text[0] != _ZERO:
            return before + text + after
        return make(text)

    def make_from_ascii(text: bytes) -> bytes:
        return before + text + after if text.isascii() else make(text)

    return _by_kind(kind, make_from_digits, make_from_ascii, make)


def text_keys_maker(manifest: Manifest) -> Callable[[Sequence[bytes]], list[bytes]]:
    """`text_key_maker` for many texts: all at once where each is plainly what it says."""
    make = text_key_maker(manifest)
    if (one := _one_column(manifest)) is None:
        return lambda texts: [*map(make, texts)]
    kind, before, after = one

    def make_from_digits(texts: Sequence[bytes]) -> list[bytes]:
        whole = b",".join((b"", *texts))
        plain = not whole.translate(None, _DIGITS_AND_COMMA) and whole.count(b",") == len(texts) > 0
        if plain and b",0" not in whole and min(map(len, texts)) > 0 and max(map(len, texts)) < _SURE_DIGITS:
            return [before + text + after for text in texts] if after else [before + text for text in texts]
        return [*map(make, texts)]

    def make_from_ascii(texts: Sequence[bytes]) -> list[bytes]:
        if b"".join(texts).isascii():
            return [before + text + after for text in texts]
        return [*map(make, texts)]

    return _by_kind(kind, make_from_digits, make_from_ascii, lambda texts: [*map(make, texts)])


def number_keys_maker(manifest: Manifest) -> Callable[[bytes], list[bytes] | None] | None:
    """See `Form.number_keys`; None where a key is no single integer."""
    if (one := _one_column(manifest)) is None:
        return None
    kind, before, after = one
    return _by_kind(kind, lambda text: number_keys(text, before, after), None, None)


def _one_column(manifest: Manifest) -> tuple[Kind, bytes, bytes] | None:
    """Of a key of one column: its kind, and what stands before and behind it. None for a key of several."""
    template = manifest.whole_key
    if len(template.names) > 1:
        return None
    before, after = (literal.encode() for literal in template.literals)
    return manifest.types[template.names[0]].kind, before, after


def _by_kind(kind: Kind, integer: T, text: T, other: T) -> T:
    """Of ways to make a key, the one for a column of this kind: of integers, of text, of anything else."""
    if kind is Kind.BIGINT or kind is Kind.INT:
        return integer
    return text if kind is Kind.STRING else other


def _utf8(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise ValueError(f"the key {text!r} is not UTF-8") from None


def get_command(manifest: Manifest) -> bytes:
    """The command that reads a row, its key to follow, and then `get_arguments`."""
    return _READ.get(manifest.value, b"GET")


def get_arguments(manifest: Manifest) -> tuple[bytes, ...]:
    """What follows the key in the command that reads a row."""
    return _READ_MORE.get(manifest.value, ())


def is_missing(raw: Any) -> bool:
    """Whether the answer says that there is no such row. An empty string is a row: one of nulls only, in Protobuf."""
    return raw is None or raw == []


def encoding(manifest: Manifest) -> str:
    """What `opener` gives: the encoding of a row, or `row` where there are no bytes of a whole row."""
    return str(manifest.value) if manifest.value in _DECODERS else "row"


def opener(manifest: Manifest) -> Callable[[bytes], bytes] | None:
    """Undoes the compression of a stored value; None where there is none."""
    return None if manifest.compression is Compression.NONE else decompressor(manifest.compression)


def opened_decoder(manifest: Manifest) -> Callable[[Any], Row]:
    """`value_decoder` for values that are opened already."""
    return value_decoder(replace(manifest, compression=Compression.NONE))


def value_decoder(manifest: Manifest) -> Callable[[Any], Row]:
    """From what the store answers (never nil, never empty) to the row, in the order of the fields.

    Of a collection the answer is given as (whole key, answer): the key's columns stand nowhere else.
    """
    if manifest.value.collection:
        return collection_decoder(manifest)
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
