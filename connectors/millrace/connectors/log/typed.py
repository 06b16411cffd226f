"""Texts to typed columns, a whole column at a time; the texts that aren't of the type are marked, never guessed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

import numpy as np
import pyarrow as pa

from millrace.connectors.log.arrays import ArrowArray, Flags, Ints, pc, to_arrow_array, to_flags
from millrace.connectors.log.time_layout import EPOCHS, ISO, ISO_DATE, TimeLayout, layouts_of
from millrace.connectors.log.times import parse_times
from millrace.connectors.wire.arrow_types import to_arrow
from millrace.spec.types import Column, DataType, Kind

_INTEGERS = frozenset({Kind.TINYINT, Kind.SMALLINT, Kind.INT, Kind.BIGINT})
_FLOATS = frozenset({Kind.FLOAT, Kind.DOUBLE})
_DAY_US = 86_400_000_000
_LAST_US = 253_402_300_799_999_999  # 9999-12-31T23:59:59.999999
_SHOWN_CHARACTERS = 80
EPOCH_DIGITS = pa.decimal128(28, 9)


@dataclass(frozen=True)
class TypedField:
    """One column of a log: its type, how its times are written, and the texts that stand for null.

    `zone` is that of times without one of their own. An empty text is null in every type but string and binary.
    """

    name: str
    type: DataType
    format: str = ""
    zone: str = "UTC"
    null: tuple[str, ...] = ()

    @property
    def column(self) -> Column:
        return Column(self.name, self.type)


@dataclass(frozen=True)
class Converted:
    """A typed array, and which of its texts were not of the type (their values are null); None when all were."""

    values: ArrowArray
    bad: Flags | None = None


@dataclass(frozen=True)
class ParsedLines:
    """The typed rows of the lines that parsed, in order, and the numbers of the lines that didn't, with a reason."""

    batch: pa.RecordBatch
    dirty: Sequence[tuple[int, str]]


def convert(texts: ArrowArray, field: TypedField) -> Converted:
    """Type an array of strings by its field; an array that a reader typed already passes. Nulls stay null."""
    if not pa.types.is_string(texts.type):
        return _convert_epochs(texts, field) if field.format in EPOCHS else Converted(texts)
    texts = _without_null_texts(texts, field)
    match field.type.kind:
        case Kind.STRING:
            return Converted(texts)
        case Kind.BINARY:
            return Converted(texts.cast(pa.binary()))
        case Kind.DATE | Kind.TIMESTAMP | Kind.TIMESTAMP_NTZ:
            return _convert_epochs(texts, field) if field.format in EPOCHS else _convert_times(texts, field)
        case _:
            return _convert_plain(texts, field.type)


def why_bad(field: TypedField, text: str) -> str:
    """The reason of a dirty row, for a person."""
    shown = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
    form = f" written as {field.format}" if field.format else ""
    return f"{field.name}: {shown!r} is not a valid {field.type}{form}"


def assemble(
    fields: Sequence[TypedField], texts: Sequence[ArrowArray], lines: Ints, dirty: Sequence[tuple[int, str]]
) -> ParsedLines:
    """Convert the columns of texts; `lines` gives each row's line number, `dirty` what was refused before."""
    converted = [convert(column, field) for column, field in zip(texts, fields, strict=True)]
    schema = pa.schema([(f.name, c.values.type) for f, c in zip(fields, converted, strict=True)])
    batch = pa.RecordBatch.from_arrays([c.values for c in converted], schema=schema)
    flags = [c.bad for c in converted if c.bad is not None]
    if not flags:
        return ParsedLines(batch, sorted(dirty))
    bad = np.logical_or.reduce(flags)
    refused = list(dirty)
    for row in np.flatnonzero(bad):
        first = next(i for i, c in enumerate(converted) if (flags_ := c.bad) is not None and flags_[row])
        refused.append((int(lines[row]), why_bad(fields[first], _text(texts[first][int(row)].as_py()))))
    return ParsedLines(batch.filter(to_arrow_array(~bad)), sorted(refused))


def _text(value: str | Decimal) -> str:
    """What stood there; of a number that a reader has typed already, its digits."""
    return value if isinstance(value, str) else f"{value.normalize():f}"


def _without_null_texts(texts: ArrowArray, field: TypedField) -> ArrowArray:
    empty_is_null = field.type.kind not in (Kind.STRING, Kind.BINARY)
    for null in dict.fromkeys((*field.null, *([""] if empty_is_null else []))):
        same = pc.equal(texts, null)
        if pc.any(same).as_py():
            texts = pc.if_else(same, pa.scalar(None, pa.string()), texts)
    return texts


def _convert_plain(texts: ArrowArray, type_: DataType) -> Converted:
    values, bad = _cast(texts, to_arrow(type_))
    flags = np.zeros(len(texts), np.bool_)
    flags[bad] = True
    if type_.kind in _INTEGERS:
        flags |= _hexadecimal(texts)
    elif type_.kind in _FLOATS:
        flags |= _overflowed(texts, values)
    return _marked(values, flags)


def _cast(texts: ArrowArray, target: pa.DataType) -> tuple[ArrowArray, list[int]]:
    """Cast, and split in halves what Arrow refuses until the bad texts stand alone; they become null."""
    try:
        return pc.cast(texts, target), []
    except pa.ArrowInvalid:
        if len(texts) == 1:
            return pc.cast(pa.array([None]), target), [0]
    half = len(texts) // 2
    first, bad_in_first = _cast(texts.slice(0, half), target)
    second, bad_in_second = _cast(texts.slice(half), target)
    return pa.concat_arrays([first, second]), bad_in_first + [half + row for row in bad_in_second]


def _hexadecimal(texts: ArrowArray) -> Flags:
    """Arrow reads 0x10 as 16; in a log that is no integer."""
    found = pc.fill_null(pc.match_substring(texts, "x", ignore_case=True), False)
    return to_flags(found)


def _overflowed(texts: ArrowArray, values: ArrowArray) -> Flags:
    """Arrow reads 1e999 as infinity; only a text that says so is that."""
    infinite = pc.fill_null(pc.is_inf(values), False)
    if not pc.any(infinite).as_py():
        return np.zeros(len(texts), np.bool_)
    said = pc.fill_null(pc.match_substring(texts, "inf", ignore_case=True), True)
    return to_flags(pc.and_not(infinite, said))


def _convert_epochs(texts: ArrowArray, field: TypedField) -> Converted:
    numbers, bad = (texts, []) if texts.type == EPOCH_DIGITS else _cast(texts, EPOCH_DIGITS)
    flags = np.zeros(len(texts), np.bool_)
    flags[bad] = True
    whole = pc.floor(pc.multiply(numbers, pa.scalar(EPOCHS[field.format], pa.decimal128(7, 0))))
    inside = pc.fill_null(pc.less_equal(pc.abs(whole), pa.scalar(_LAST_US, whole.type)), True)
    flags |= ~to_flags(inside)
    us = pc.if_else(inside, whole, pa.scalar(None, whole.type)).cast(pa.int64())
    return _marked(_as_time(us, field.type), flags)


def _convert_times(texts: ArrowArray, field: TypedField) -> Converted:
    present = to_flags(texts.is_valid())
    layouts = _layouts(field.format or (ISO_DATE if field.type.kind is Kind.DATE else ISO))
    times = parse_times(texts.drop_null() if texts.null_count else texts, layouts)
    us = times.wall_us
    if field.type.kind is Kind.TIMESTAMP:
        us = us - times.offset_us
        if field.zone != "UTC" and not times.zoned.all():
            us = np.where(times.zoned, us, _instants_us(times.wall_us, field.zone))
    values, flags = np.zeros(len(texts), np.int64), np.zeros(len(texts), np.bool_)
    values[present], flags[present] = us, ~times.ok
    return _marked(_as_time(to_arrow_array(values, ~present), field.type), flags)


@cache
def _layouts(format_: str) -> tuple[TimeLayout, ...]:
    return layouts_of(format_)


def _instants_us(wall_us: Ints, zone: str) -> Ints:
    """Wall-clock times of a zone as instants. An hour that comes twice is the earlier, one left out the later."""
    wall = to_arrow_array(wall_us).cast(pa.timestamp("us"))
    instants = pc.assume_timezone(wall, zone, ambiguous="earliest", nonexistent="latest")
    return np.asarray(instants.cast(pa.int64()))


def _as_time(us: ArrowArray, type_: DataType) -> ArrowArray:
    if type_.kind is Kind.DATE:
        days = np.asarray(us.fill_null(0)) // _DAY_US
        return to_arrow_array(days, to_flags(us.is_null())).cast(pa.int32()).cast(pa.date32())
    return us.cast(to_arrow(type_))


def _marked(values: ArrowArray, bad: Flags) -> Converted:
    if not bad.any():
        return Converted(values)
    return Converted(pc.if_else(to_arrow_array(bad), pa.scalar(None, values.type), values), bad)
