"""Values of every column type, the edges among them, and a batch that holds each of them once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pyarrow as pa

from millrace.connectors.wire.arrow_types import schema_of
from millrace.spec.types import Column, column, parse_type

_INDIA = timezone(timedelta(hours=5, minutes=30))
UNUSUAL = ("NaN", "infinity", "minus infinity")
_FLOATS = {"NaN": float("nan"), "infinity": float("inf"), "minus infinity": float("-inf"), "minus zero": -0.0}
_TIMES = {
    "in the year 1": datetime(1, 1, 1),
    "in the year 1900": datetime(1900, 1, 1),
    "before 1970": datetime(1969, 12, 31, 23, 59, 59, 1),
    "leap day": datetime(2024, 2, 29, 12, 30),
    "in the year 2299": datetime(2299, 12, 31, 23, 59, 59, 999_999),
    "in the year 9999": datetime(9999, 12, 31, 23, 59, 59, 999_999),
}

#: Type: the values, by what is special about each. The first one stands in the rows that are about another column.
VALUES: Mapping[str, Mapping[str, Any]] = {
    "boolean": {"true": True, "false": False},
    "tinyint": {"min": -128, "max": 127},
    "smallint": {"min": -(2**15), "max": 2**15 - 1},
    "int": {"min": -(2**31), "max": 2**31 - 1},
    "bigint": {"min": -(2**63), "max": 2**63 - 1, "over 2^53": 2**53 + 1},
    "float": {"some": 1.5, "max": 3.4028234663852886e38, "least": 1.401298464324817e-45, **_FLOATS},
    "double": {"some": 0.1, "max": 1.7976931348623157e308, "least": 5e-324, **_FLOATS},
    "decimal(38,10)": {
        "max": Decimal("9999999999999999999999999999.9999999999"),
        "min": Decimal("-9999999999999999999999999999.9999999999"),
        "least": Decimal("0.0000000001"),
        "zero": Decimal("0E-10"),
    },
    "decimal(20,0)": {"max unsigned": Decimal(2**64 - 1)},
    "string": {
        "plain": "plain",
        "empty": "",
        "spaces": "  two  spaces  ",
        "unicode": "ü ключ 鍵 🔑",
        "quotes": "'\"`\\;--",
        "control": "\0\t\r\n\x7f",
        "null by name": "null",
    },
    "binary": {"some": b"\x01\x02", "empty": b"", "all bytes": bytes(range(256))},
    "date": {
        "leap day": date(2024, 2, 29),
        "in the year 1": date(1, 1, 1),
        "in the year 1900": date(1900, 1, 1),
        "before 1970": date(1969, 12, 31),
        "in the year 2299": date(2299, 12, 31),
        "in the year 9999": date(9999, 12, 31),
    },
    "timestamp": {
        "of another zone": datetime(2024, 3, 31, 2, 30, tzinfo=_INDIA),
        **{name: time.replace(tzinfo=UTC) for name, time in _TIMES.items()},
    },
    "timestamp_ntz": {"summer": datetime(2024, 7, 1, 2, 30), **_TIMES},
    "array<int>": {"some": [1, -1], "empty": [], "with a null": [None, 3]},
    "array<string>": {"some": ["a", ""], "unicode": ["ü", "🔑"]},
    "array<array<int>>": {"some": [[1], []]},
    "map<string,int>": {"some": {"k": 1}, "empty": {}, "with a null": {"l": None}},
    "struct<x:int,y:string>": {"some": {"x": 1, "y": "q"}, "of nulls": {"x": None, "y": None}},
    "array<struct<at:timestamp,raw:binary>>": {"some": [{"at": datetime(2020, 2, 29, tzinfo=UTC), "raw": b"\xfe"}]},
}


@dataclass(frozen=True)
class Value:
    """One value: of its type, what is special about it, and the id of its row in the batch."""

    type: str
    what: str
    value: Any
    id: int

    def __str__(self) -> str:
        return f"{self.type}: {self.what}"


def _all() -> Iterator[Value]:
    numbers = iter(range(1, 10_000))
    for type_, values in VALUES.items():
        for what, value in {**values, "null": None}.items():
            yield Value(type_, what, value, next(numbers))


ALL: Sequence[Value] = tuple(_all())
COLUMNS: Sequence[Column] = (
    column("id", "bigint"),
    *(column(f"c{number}", type_) for number, type_ in enumerate(VALUES)),
)


def named(*types: str, but: Sequence[str] = (), what: Sequence[str] = ()) -> list[str]:
    """The names of the values of some types: of all of them, or of those that are `what`, without those in `but`."""
    found = [value for value in ALL if value.type in types and value.what not in but]
    return [str(value) for value in found if not what or value.what in what]


NESTED: Sequence[str] = tuple(type_ for type_ in VALUES if parse_type(type_).nested)


def name_of(type_: str) -> str:
    return f"c{list(VALUES).index(type_)}"


def batch(columns: Sequence[Column] = COLUMNS) -> pa.RecordBatch:
    """A row for each value, in which the other columns hold the first value of their type."""
    plain = {name_of(type_): next(iter(values.values())) for type_, values in VALUES.items()}
    rows = [{**plain, "id": value.id, name_of(value.type): value.value} for value in ALL]
    return pa.RecordBatch.from_pylist([as_arrow(row) for row in rows], schema=schema_of(columns))


def as_arrow(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Arrow takes maps as pairs."""
    return {
        name: list(value.items()) if isinstance(value, dict) and name == name_of("map<string,int>") else value
        for name, value in row.items()
    }


def same(got: Any, expected: Any) -> bool:
    """Equality in which NaN is itself, zero has its sign, and one instant is the same in every zone."""
    if isinstance(expected, datetime) and expected.tzinfo is not None:
        return isinstance(got, datetime) and got.tzinfo is not None and got == expected
    if isinstance(expected, float):
        return isinstance(got, float) and repr(got) == repr(expected)
    if isinstance(expected, list | tuple):
        return isinstance(got, list | tuple) and len(got) == len(expected) and all(map(same, got, expected))
    if isinstance(expected, dict):
        return isinstance(got, dict) and got.keys() == expected.keys() and all(same(got[k], expected[k]) for k in got)
    return type(got) is type(expected) and got == expected
