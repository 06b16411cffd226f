"""The column that a table is split by: its values as JSON and as SQL literals. Pure.

Numbers and times are counted (an integer, a decimal's digits, days or microseconds since 1970), so that a middle can be
found; texts and bytes are compared by the server alone, under the column's collation, and never by code point.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from millrace.connectors.mysql.types import TableColumn

_NAME = re.compile(r"\w+", re.ASCII)
_EPOCH_DAY = date(1970, 1, 1)
_EPOCH = datetime(1970, 1, 1)  # a wall clock or UTC, as the column has it
_SURROGATES = range(0xD800, 0xE000)


class KeyKind(StrEnum):
    """How a key's values are counted or compared."""

    INTEGER = "integer"
    DECIMAL = "decimal"
    DATE = "date"
    TIME = "time"  # datetime and timestamp
    TEXT = "text"
    BYTES = "bytes"

    @property
    def counted(self) -> bool:
        return self not in (KeyKind.TEXT, KeyKind.BYTES)


_KINDS = {
    **dict.fromkeys(("tinyint", "smallint", "mediumint", "int", "integer", "bigint", "year"), KeyKind.INTEGER),
    **dict.fromkeys(("decimal", "numeric"), KeyKind.DECIMAL),
    "date": KeyKind.DATE,
    **dict.fromkeys(("datetime", "timestamp"), KeyKind.TIME),
    **dict.fromkeys(("char", "varchar"), KeyKind.TEXT),
    **dict.fromkeys(("binary", "varbinary"), KeyKind.BYTES),
}

Value = int | str
"""A key's value as it stands in a plan: counted kinds as an int, texts as they are, bytes as hex."""


@dataclass(frozen=True)
class SplitKey:
    """A column that can be split, and `index`, the index that starts with it ("" for none)."""

    column: TableColumn
    kind: KeyKind
    index: str = ""

    @property
    def sql(self) -> str:
        return quoted(self.column.name)

    def literal(self, value: Value) -> str:
        """The value in SQL, comparable with the column under the column's own collation."""
        match self.kind:
            case KeyKind.INTEGER:
                return str(int(value))
            case KeyKind.DECIMAL:
                return f"{Decimal(int(value)).scaleb(-(self.column.scale or 0)):f}"
            case KeyKind.DATE:
                return f"'{(_EPOCH_DAY + timedelta(days=int(value))).isoformat()}'"
            case KeyKind.TIME:
                return f"'{(_EPOCH + timedelta(microseconds=int(value))).isoformat(' ', 'microseconds')}'"
            case KeyKind.TEXT:
                charset, collation = _checked(self.column.charset), _checked(self.column.collation)
                return f"CONVERT(_utf8mb4 X'{str(value).encode().hex()}' USING {charset}) COLLATE {collation}"
            case KeyKind.BYTES:
                return f"X'{value}'" if value else "''"

    @property
    def counted_sql(self) -> str:
        """The column as SQL whose result `value_of` understands."""
        match self.kind:
            case KeyKind.DATE:
                return f"DATEDIFF({self.sql}, '1970-01-01')"
            case KeyKind.TIME:
                return f"TIMESTAMPDIFF(MICROSECOND, '1970-01-01', {self.sql})"
            case KeyKind.BYTES:
                return f"HEX({self.sql})"
            case _:
                return self.sql

    def value_of(self, found: object) -> Value:
        """A result of `counted_sql` as a value."""
        match self.kind:
            case KeyKind.TEXT | KeyKind.BYTES:
                return str(found)
            case KeyKind.DECIMAL:
                return int(Decimal(str(found)).scaleb(self.column.scale or 0))
            case _:
                return int(str(found))

    @property
    def real_values_sql(self) -> str:
        """A condition that leaves out NULL, and zero dates and the like, which can't be counted."""
        return (
            f"{self.sql} >= '0001-01-01' AND {self.counted_sql} IS NOT NULL"
            if self.timed
            else f"{self.sql} IS NOT NULL"
        )

    @property
    def timed(self) -> bool:
        """Whether its values are dates or times, among which there may be some that can't be counted."""
        return self.kind in (KeyKind.DATE, KeyKind.TIME)

    def predicate(self, split: Mapping[str, Any], name: str) -> str:
        """The SQL condition of one split of a plan, over a column of this name with the key's values."""
        if split.get("null"):
            return f"{name} IS NULL"
        bounds = []
        if split["from"] is not None:
            bounds.append(f"{name} >= {self.literal(split['from'])}")
        if split["to"] is not None:
            bounds.append(f"{name} {'<=' if split['closed'] else '<'} {self.literal(split['to'])}")
        return " AND ".join(bounds) or f"{name} IS NOT NULL"


def split_key(column: TableColumn, index: str) -> SplitKey | None:
    """The key that this column makes; None when its type can't be split."""
    kind = _KINDS.get(column.type)
    return SplitKey(column, kind, index) if kind else None


def splittable_types() -> list[str]:
    return sorted(_KINDS)


def probes_between(key: SplitKey, first: Value, last: Value) -> list[Value]:
    """Values to look for between two keys, the best guess first.

    For texts they are hints: only the server knows whether they lie between, and what keys there are.
    """
    if key.kind.counted:
        low, high = int(first), int(last)
        return [low + (high - low + 1) // 2] if high > low else []
    if key.kind is KeyKind.BYTES:
        return [guess.hex() for guess in _bytes_between(bytes.fromhex(str(first)), bytes.fromhex(str(last)))]
    return list(_texts_between(str(first), str(last)))


def _bytes_between(first: bytes, last: bytes) -> list[bytes]:
    same = 0
    while same < min(len(first), len(last)) and first[same] == last[same]:
        same += 1
    if same == len(last):
        return []
    low, high = first[same] if same < len(first) else 0, last[same]
    return [last[:same] + bytes([low + (high - low + 1) // 2])]


def _texts_between(first: str, last: str) -> list[str]:
    """The common start and a character half-way between the next ones, as written and in lower case; and the last's."""
    same = 0
    while same < min(len(first), len(last)) and first[same].casefold() == last[same].casefold():
        same += 1
    if same == len(last):
        return []
    start, low, high = last[:same], first[same : same + 1], last[same]
    guesses = [
        start + middle for a, b in ((low, high), (low.lower(), high.lower())) if (middle := _character_between(a, b))
    ]
    return list(dict.fromkeys([*guesses, start + high]))


def _character_between(low: str, high: str) -> str:
    if len(high) != 1 or len(low) > 1:  # a lower-case form may have several characters
        return ""
    a, b = ord(low) if low else 0x20, ord(high)
    middle = a + (b - a + 1) // 2
    return chr(middle) if a < middle <= b and middle not in _SURROGATES else ""


def quoted(name: str) -> str:
    """A name in SQL."""
    return "`" + name.replace("`", "``") + "`"


def _checked(name: str | None) -> str:
    if name is None or not _NAME.fullmatch(name):
        raise ValueError(f"'{name}' is no name of a character set or collation")
    return name
