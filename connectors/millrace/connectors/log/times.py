"""Times written in a fixed layout, parsed by column: digits at known places become numpy arrays.

Texts of one length and one form of zone are parsed together as a matrix of bytes, so the cost is a few vector
operations for each place in the layout, and none for each row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from millrace.connectors.log.arrays import ArrowArray, Bytes, Flags, Ints, text_bounds, to_arrow_array
from millrace.connectors.log.time_layout import TimeLayout

_LONGEST = 64
_ZONE_WIDTHS = (6, 5, 3, 1, 0)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH_KEYS = np.array([m[0] << 16 | m[1] << 8 | m[2] for m in (name.encode() for name in _MONTHS)], dtype=np.int64)
_MONTH_ORDER = np.argsort(_MONTH_KEYS)
_SORTED_MONTH_KEYS = _MONTH_KEYS[_MONTH_ORDER]


@dataclass(frozen=True)
class ParsedTimes:
    """`wall_us`: the digits as µs since 1970-01-01T00:00 of the same zone. `offset_us`: that zone's east of UTC."""

    wall_us: Ints
    offset_us: Ints
    zoned: Flags
    ok: Flags


def parse_times(texts: ArrowArray, layouts: Sequence[TimeLayout]) -> ParsedTimes:
    """Parse a string array without nulls; each text by the first layout that fits it exactly.

    `ok` is False where none fits or where the date or time doesn't exist (30 February, 25:00, second 60).
    """
    count = len(texts)
    found = ParsedTimes(
        np.zeros(count, np.int64), np.zeros(count, np.int64), np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    )
    left = np.arange(count)
    for layout in layouts:
        if not len(left):
            break
        remaining = texts if len(left) == count else texts.take(to_arrow_array(left))
        _parse_one_layout(remaining, layout, left, found)
        left = np.flatnonzero(~found.ok)
    return found


def _parse_one_layout(texts: ArrowArray, layout: TimeLayout, rows: Ints, found: ParsedTimes) -> None:
    bounds, data = text_bounds(texts)
    starts, lengths = bounds[:-1], np.diff(bounds)
    zone_widths = _zone_widths(layout, starts, lengths, data)
    groups = lengths * 8 + zone_widths
    for group in np.unique(groups):
        length, zone = divmod(int(group), 8)
        fraction = length - layout.fixed - zone
        if length > _LONGEST or fraction < 0 or fraction > 9 or (fraction > 0) != layout.has_fraction:
            continue
        if (zone > 0) != layout.has_zone:
            continue
        members = np.flatnonzero(groups == group)
        at = starts[members]
        if len(members) == len(rows) and length and int(at[-1] - at[0]) == length * (len(at) - 1):
            matrix = data[at[0] : at[0] + length * len(at)].reshape(-1, length)
        else:
            matrix = data[at[:, None] + np.arange(length)]
        _parse_matrix(matrix, layout, fraction, zone, rows[members], found)


def _zone_widths(layout: TimeLayout, starts: Ints, lengths: Ints, data: Bytes) -> Ints:
    """The width of the zone in each text, told by where its sign stands: Z, +hh, +hhmm or +hh:mm."""
    widths = np.zeros(len(lengths), np.int64)
    if not layout.has_zone or not len(data):
        return widths
    ends = starts + lengths - layout.after_zone

    def at(back: int) -> Bytes:
        return np.where(ends - starts >= back, data[np.maximum(ends - back, 0)], 0).astype(np.uint8)

    def signed(back: int) -> Flags:
        return np.isin(at(back), np.frombuffer(b"+-", np.uint8))

    return np.select(
        [at(1) == ord("Z"), signed(6) & (at(3) == ord(":")), signed(5), signed(3)], [1, 6, 5, 3], default=0
    ).astype(np.int64)


def _parse_matrix(matrix: Bytes, layout: TimeLayout, fraction: int, zone: int, rows: Ints, found: ParsedTimes) -> None:
    ok = np.ones(len(matrix), np.bool_)
    zero = np.zeros(len(matrix), np.int64)
    value = {"Y": zero, "m": zero, "d": zero, "H": zero, "M": zero, "S": zero, "f": zero, "z": zero}
    position = 0
    for piece in layout.pieces:
        width = {"f": fraction, "z": zone}.get(piece.directive, piece.width)
        part = matrix[:, position : position + width]
        position += width
        match piece.directive:
            case "":
                ok &= (part == np.frombuffer(piece.literal, np.uint8)).all(axis=1)
            case "b":
                value["m"] = _months(part, ok)
            case "z":
                value["z"] = _zone_offsets_us(part, ok)
            case "f":
                value["f"] = _digits(part[:, :6], ok) * 10 ** (6 - min(fraction, 6))
                _digits(part[:, 6:], ok)
            case "y":
                short = _digits(part, ok)
                value["Y"] = short + np.where(short < 69, 2000, 1900)
            case "a":
                pass
            case name:
                value[name] = _digits(part, ok)
    days = _days(value["Y"], value["m"], value["d"], ok)
    ok &= (value["H"] < 24) & (value["M"] < 60) & (value["S"] < 60)
    seconds = ((days * 24 + value["H"]) * 60 + value["M"]) * 60 + value["S"]
    found.wall_us[rows] = seconds * 1_000_000 + value["f"]
    found.offset_us[rows] = value["z"]
    found.zoned[rows] = zone > 0
    found.ok[rows] = ok


def _digits(part: Bytes, ok: Flags) -> Ints:
    """The number that the columns of digits make; `ok` is cleared where one isn't a digit."""
    total = np.zeros(len(part), np.int64)
    for i in range(part.shape[1]):
        digit = part[:, i] - np.uint8(ord("0"))  # wraps below '0', so one comparison is enough
        ok &= digit <= 9
        total = total * 10 + digit
    return total


def _months(part: Bytes, ok: Flags) -> Ints:
    lower = (part | 32).astype(np.int64)
    keys = lower[:, 0] << 16 | lower[:, 1] << 8 | lower[:, 2]
    place = np.minimum(np.searchsorted(_SORTED_MONTH_KEYS, keys), 11)
    ok &= _SORTED_MONTH_KEYS[place] == keys
    return _MONTH_ORDER[place] + 1


def _zone_offsets_us(part: Bytes, ok: Flags) -> Ints:
    width = part.shape[1]
    if width == 1:
        return np.zeros(len(part), np.int64)
    hours = _digits(part[:, 1:3], ok)
    minutes = _digits(part[:, width - 2 :], ok) if width > 3 else np.zeros(len(part), np.int64)
    ok &= (hours < 24) & (minutes < 60)
    sign = np.where(part[:, 0] == ord("-"), -1, 1)
    offsets: Ints = sign * (hours * 60 + minutes) * 60_000_000
    return offsets


def _days(year: Ints, month: Ints, day: Ints, ok: Flags) -> Ints:
    """Days since 1970-01-01 in the proleptic Gregorian calendar; `ok` is cleared for a date that doesn't exist."""
    ok &= (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1)
    months = (year - 1970) * 12 + np.clip(month, 1, 12) - 1
    first: Ints = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    following: Ints = (months + 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    ok &= day <= following - first
    return first + day - 1
