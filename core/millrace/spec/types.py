"""Column types: the one vocabulary that sources, transforms, stores and readers share.

The text form is Spark SQL's DDL in lower case (`bigint`, `decimal(20,0)`, `array<string>`,
`map<string,int>`, `struct<a:int,b:string>`), because Spark is where types are decided.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    BOOLEAN = "boolean"
    TINYINT = "tinyint"
    SMALLINT = "smallint"
    INT = "int"
    BIGINT = "bigint"
    FLOAT = "float"
    DOUBLE = "double"
    DECIMAL = "decimal"
    STRING = "string"
    BINARY = "binary"
    DATE = "date"
    TIMESTAMP = "timestamp"  # an instant, µs since 1970-01-01T00:00:00Z
    TIMESTAMP_NTZ = "timestamp_ntz"  # a wall-clock time without a zone, µs
    ARRAY = "array"
    MAP = "map"
    STRUCT = "struct"


_ALIASES: Mapping[str, Kind] = {
    "bool": Kind.BOOLEAN,
    "byte": Kind.TINYINT,
    "short": Kind.SMALLINT,
    "integer": Kind.INT,
    "long": Kind.BIGINT,
    "real": Kind.FLOAT,
    "dec": Kind.DECIMAL,
    "numeric": Kind.DECIMAL,
    "text": Kind.STRING,
    "bytes": Kind.BINARY,
    "timestamp_ltz": Kind.TIMESTAMP,
}
#: Kinds whose values are whole numbers at heart: integers, days, microseconds.
ORDINAL = frozenset({Kind.TINYINT, Kind.SMALLINT, Kind.INT, Kind.BIGINT, Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMP_NTZ})
_NESTED = frozenset({Kind.ARRAY, Kind.MAP, Kind.STRUCT})


@dataclass(frozen=True)
class DataType:
    """One column type. `fields` are the struct's members, or `element`, or `key` and `value`."""

    kind: Kind
    precision: int = 10
    scale: int = 0
    fields: tuple[Column, ...] = ()

    @property
    def nested(self) -> bool:
        return self.kind in _NESTED

    def __str__(self) -> str:
        match self.kind:
            case Kind.DECIMAL:
                return f"decimal({self.precision},{self.scale})"
            case Kind.ARRAY | Kind.MAP:
                return f"{self.kind}<{','.join(str(f.type) for f in self.fields)}>"
            case Kind.STRUCT:
                return f"struct<{','.join(f'{f.name}:{f.type}' for f in self.fields)}>"
            case _:
                return str(self.kind)


@dataclass(frozen=True)
class Column:
    """A named, typed column. Every column may hold nulls; `not_null` is a check, not a type."""

    name: str
    type: DataType

    def __str__(self) -> str:
        return f"{self.name} {self.type}"


def parse_type(text: str) -> DataType:
    """Parse a type's text form.

    Raises ValueError, naming the text and the valid names, for anything else.
    """
    parser = _Parser(text)
    found = parser.type()
    parser.end()
    return found


def column(name: str, type_: str) -> Column:
    """Shorthand: `column("age", "int")`."""
    return Column(name, parse_type(type_))


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.rest = text.strip()

    def fail(self) -> ValueError:
        names = ", ".join(sorted(Kind))
        return ValueError(f"unknown type '{self.text}', expected one of {names}")

    def end(self) -> None:
        if self.rest:
            raise self.fail()

    def take(self, token: str) -> None:
        if not self.rest.startswith(token):
            raise self.fail()
        self.rest = self.rest[len(token) :].lstrip()

    def word(self) -> str:
        size = next((i for i, c in enumerate(self.rest) if not (c.isalnum() or c == "_")), len(self.rest))
        found, self.rest = self.rest[:size], self.rest[size:].lstrip()
        if not found:
            raise self.fail()
        return found

    def type(self) -> DataType:
        name = self.word().lower()
        kind = _ALIASES.get(name)
        if kind is None:
            try:
                kind = Kind(name)
            except ValueError:
                raise self.fail() from None
        if kind is Kind.DECIMAL:
            return self.decimal()
        if kind in _NESTED:
            return DataType(kind, fields=self.members(kind))
        return DataType(kind)

    def decimal(self) -> DataType:
        precision, scale = 10, 0
        if self.rest.startswith("("):
            self.take("(")
            precision = self.number()
            if self.rest.startswith(","):
                self.take(",")
                scale = self.number()
            self.take(")")
        if not (1 <= precision <= 38 and 0 <= scale <= precision):
            raise ValueError(f"bad decimal '{self.text}', expected 1 ≤ precision ≤ 38 and 0 ≤ scale ≤ precision")
        return DataType(Kind.DECIMAL, precision, scale)

    def number(self) -> int:
        word = self.word()
        if not word.isdigit():
            raise self.fail()
        return int(word)

    def members(self, kind: Kind) -> tuple[Column, ...]:
        names = {Kind.ARRAY: ("element",), Kind.MAP: ("key", "value")}.get(kind)
        found: list[Column] = []
        self.take("<")
        while True:
            if names is None:
                name = self.word()
                self.take(":")
            else:
                name = names[min(len(found), len(names) - 1)]
            found.append(Column(name, self.type()))
            if not self.rest.startswith(","):
                break
            self.take(",")
        self.take(">")
        if names is not None and len(found) != len(names):
            raise self.fail()
        return tuple(found)
