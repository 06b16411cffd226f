"""JSON lines that all have one shape, by column: the same names in the same order, each with a plain string or number.

Machines write such lines. Their quotation marks tell where everything stands; what stands around the values is compared
with the first line's, byte for byte, and the values are cut out by their places: half of the time that a parser takes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from millrace.connectors.log.arrays import ArrowArray, Bytes, Ints, pc, text_bounds, to_buffer

_LEAST_LINES = 256
_MOST_BYTES = (1 << 31) - 1
_BLANK, _QUOTE, _BACKSLASH, _MINUS, _ZERO, _NINE = b' "\\-09'
_MEMBER = re.compile(rb'(\s*[{,]\s*"([^"]*)"\s*:\s*)(?:"[^"]*"|-?[0-9.]+)')


@dataclass(frozen=True)
class _Value:
    """One value of each line: the text before it, up to the value before or the line's start; a number or a string.

    `quote` is the place, among the line's quotation marks, of the last one before it.
    """

    name: str
    before: bytes
    number: bool
    quote: int


@dataclass(frozen=True)
class _Shape:
    values: Sequence[_Value]
    after: bytes
    quotes: int


def read_same_shape(lines: ArrowArray, schema: pa.Schema) -> pa.Table | None:
    """The columns of the schema, as Arrow's own reader gives them; null where lines have no such name.

    None for whatever this can't read: lines of several shapes, with escapes, nested values, or values of another type.
    """
    bounds, data = text_bounds(lines)
    text = data[bounds[0] : bounds[-1]]
    bounds = bounds - bounds[0]
    if len(lines) < _LEAST_LINES or len(text) > _MOST_BYTES or text.min() < _BLANK or (text == _BACKSLASH).any():
        return None
    shape = _shape_of(bytes(text[: bounds[1]]))
    if shape is None or len({value.name for value in shape.values}) < len(shape.values):
        return None
    places = _places(text, bounds, shape)
    if places is None:
        return None
    types = {field.name: field.type for field in schema}
    columns = {}
    for value, (start, end) in zip(shape.values, places, strict=True):
        column = _column(text, start, end, value.number, types.get(value.name, pa.float64() if value.number else None))
        if column is None:
            return None
        columns[value.name] = column
    return pa.table([columns.get(f.name, pa.nulls(len(lines), f.type)) for f in schema], schema=schema)


def _shape_of(line: bytes) -> _Shape | None:
    """What all lines have to look like if they look like this one."""
    values: list[_Value] = []
    place = quotes = 0
    before = b""
    while found := _MEMBER.match(line, place):
        head, text = found[1], line[found.end(1) : found.end()]
        if head.lstrip().startswith(b"{") != (not values):
            return None
        number = not text.startswith(b'"')
        before += head if number else head + b'"'
        quotes += 2 if number else 3
        values.append(_Value(found[2].decode(), before, number, quotes - 1))
        before, quotes = (b"", quotes) if number else (b'"', quotes + 1)
        place = found.end()
    after = before + line[place:]
    return _Shape(values, after, quotes) if values and line[place:].strip() == b"}" else None


def _places(text: Bytes, bounds: Ints, shape: _Shape) -> list[tuple[Ints, Ints]] | None:
    """Where each value starts and ends in every line; None when some line isn't of the shape."""
    quotes = np.flatnonzero(text == _QUOTE)
    rows = len(bounds) - 1
    if len(quotes) != rows * shape.quotes:
        return None
    marks = quotes.reshape(rows, shape.quotes).T
    if (marks[0] < bounds[:-1]).any() or (marks[-1] >= bounds[1:]).any():
        return None
    found: list[tuple[Ints, Ints]] = []
    end = bounds[:-1]
    for number, value in enumerate(shape.values):
        start = end + len(value.before)
        mark = marks[value.quote] + 1 + len(value.before) - value.before.rindex(b'"') - 1
        if (start != mark).any() or not _stands_there(text, end, value.before):
            return None
        rest = shape.values[number + 1].before if number + 1 < len(shape.values) else shape.after
        following = value.quote + 1
        end = marks[following] - rest.index(b'"') if following < shape.quotes else bounds[1:] - len(rest)
        if (end < start).any():
            return None
        found.append((start, end))
    whole = (end + len(shape.after) == bounds[1:]).all() and _stands_there(text, end, shape.after)
    return found if whole else None


def _stands_there(text: Bytes, places: Ints, wanted: bytes) -> bool:
    """Whether this text stands at each of the places."""
    size = len(wanted)
    if places.max() + size > len(text):
        return False
    windows: Any = np.ndarray((len(text) - size + 1,), f"V{size}", buffer=text, strides=(1,))
    found = windows[places].view(np.uint8).reshape(len(places), size)
    return bool((found == np.frombuffer(wanted, np.uint8)).all())


def _column(text: Bytes, start: Ints, end: Ints, number: bool, type_: pa.DataType | None) -> ArrowArray | None:
    """The values as this type; without one, a string that nobody wants. None where some are not of the type."""
    if type_ is None:
        return ()
    if number != (pa.types.is_integer(type_) or pa.types.is_floating(type_)):
        return None
    if not number and not pa.types.is_string(type_):
        return None
    texts = _cut(text, start, end)
    if not number:
        return texts
    if not _are_plain_numbers(text, start, end, texts):
        return None
    try:
        return pc.cast(texts, type_)
    except pa.ArrowInvalid:
        return None


def _cut(text: Bytes, start: Ints, end: Ints) -> ArrowArray:
    """The texts from `start` to `end`: every second one of an array whose others are what stands between them."""
    offsets = np.empty(2 * len(start), np.int32)
    offsets[0::2], offsets[1::2] = start, end
    whole: Any = pa.StringArray.from_buffers(len(offsets) - 1, to_buffer(offsets), to_buffer(text))
    chosen: Any = pa.array(np.arange(0, len(offsets), 2, dtype=np.int32))
    return pc.take(whole, chosen, boundscheck=False)


def _are_plain_numbers(text: Bytes, start: Ints, end: Ints, texts: ArrowArray) -> bool:
    """Whether they are JSON's numbers without an exponent, as far as a cast wouldn't tell."""
    _, digits = text_bounds(texts)
    if (end == start).any() or digits.min() < _MINUS or digits.max() > _NINE:
        return False
    first = start + (text[start] == _MINUS)
    last = end - 1
    if (first > last).any() or (text[first] < _ZERO).any() or (text[last] < _ZERO).any():
        return False
    padded = (text[first] == _ZERO) & (first < last)
    return not (text[first[padded] + 1] >= _ZERO).any()
