"""The template of a row's key, e.g. `{country}:{id}`: parsed once, then filled in for one reader's key at a time.

Values are written in one canonical text for each type (`text_of`), so that a key that is asked for is the key that was
written. With several columns, the character that ends a value is percent-encoded inside it (`a:b` → `a%3Ab`), and so is
`%`: different values never give the same key.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation, localcontext
from functools import cached_property
from typing import Any

from millrace.spec.types import DataType, Kind

_INTEGERS: Mapping[Kind, int] = {Kind.TINYINT: 7, Kind.SMALLINT: 15, Kind.INT: 31, Kind.BIGINT: 63}
#: Types that can't be part of a key: two texts of one number, or no text at all.
UNFIT = frozenset({Kind.FLOAT, Kind.DOUBLE, Kind.ARRAY, Kind.MAP, Kind.STRUCT})


@dataclass(frozen=True)
class KeyTemplate:
    """`literals[i]` stands before `names[i]`, the last literal behind the last name."""

    text: str
    literals: tuple[str, ...]
    names: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> KeyTemplate:
        """Raises ValueError saying what is wrong with the template."""
        literals, names = [""], []
        try:
            parts = list(string.Formatter().parse(text))
        except ValueError as error:
            raise ValueError(f"bad key template '{text}': {error} (a plain brace is written twice)") from None
        for literal, name, spec, conversion in parts:
            literals[-1] += literal
            if name is None:
                continue
            if not name or spec or conversion:
                raise ValueError(f"bad key template '{text}': expected column names in braces, such as '{{id}}'")
            if names and not _ends_a_value(literals[-1]):
                raise ValueError(
                    f"bad key template '{text}': between {{{names[-1]}}} and {{{name}}} there must be text that starts"
                    " with neither a letter, a digit, a space, - nor %, such as ':'; else two rows could share a key"
                )
            names.append(name)
            literals.append("")
        if not names:
            raise ValueError(f"bad key template '{text}': it names no column, so all rows would share a key")
        return cls(text, tuple(literals), tuple(names))

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns that make the key, each once."""
        return tuple(dict.fromkeys(self.names))

    @cached_property
    def escaped(self) -> tuple[str, ...]:
        """The characters that are percent-encoded inside values: none when there is one value only."""
        if len(self.names) == 1:
            return ()
        return ("%", *sorted({literal[0] for literal in self.literals[1:-1]}))

    def fill(self, types: Mapping[str, DataType], values: Sequence[Any] | Mapping[str, Any]) -> bytes:
        """The key for these values, by name or in the order of `columns`; each of its type, or as text.

        Raises ValueError naming the column when a value is missing or not of its type.
        """
        named = values if isinstance(values, Mapping) else dict(zip(self.columns, values, strict=False))
        if len(named) != len(self.columns) or not all(name in named for name in self.columns):
            raise ValueError(f"the key '{self.text}' needs {', '.join(self.columns)}; got {', '.join(map(str, named))}")
        found = self.literals[0].encode()
        for name, literal in zip(self.names, self.literals[1:], strict=True):
            found += self._escape(text_of(name, types[name], named[name])) + literal.encode()
        return found

    def _escape(self, value: bytes) -> bytes:
        for character in self.escaped:
            value = value.replace(character.encode(), percent(character).encode())
        return value


def percent(character: str) -> str:
    """`:` → `%3A`, by UTF-8 byte."""
    return "".join(f"%{byte:02X}" for byte in character.encode())


def text_of(name: str, type_: DataType, value: Any) -> bytes:
    """The canonical text of a key's value. `value` is of the column's Python type, or its text (then it is parsed).

    Raises ValueError naming the column, its type and the value.
    """
    try:
        return _text(type_, value)
    except (ValueError, TypeError, InvalidOperation, OverflowError):
        raise ValueError(f"the key's column '{name}' is {type_}: {value!r} is not one") from None


def _text(type_: DataType, value: Any) -> bytes:
    kind = type_.kind
    if kind in _INTEGERS:
        return _integer(value, _INTEGERS[kind])
    match kind:
        case Kind.STRING:
            return str.encode(value)
        case Kind.BINARY:
            return value.encode() if isinstance(value, str) else bytes(memoryview(value))
        case Kind.BOOLEAN:
            return {True: b"true", False: b"false", "true": b"true", "false": b"false"}[_known(value, (bool, str))]
        case Kind.DECIMAL:
            return _decimal(type_, value)
        case Kind.DATE:
            found = date.fromisoformat(value) if isinstance(value, str) else value
            if isinstance(found, datetime):
                raise TypeError
            return date.isoformat(found).encode()
        case Kind.TIMESTAMP | Kind.TIMESTAMP_NTZ:
            return _timestamp(value, utc=kind is Kind.TIMESTAMP)
        case _:
            raise TypeError


def _known(value: Any, types: tuple[type, ...]) -> Any:
    if not isinstance(value, types) or (isinstance(value, str) and value not in ("true", "false")):
        raise TypeError
    return value


def _integer(value: Any, bits: int) -> bytes:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError
    if isinstance(value, str) and not re.fullmatch(r"[+-]?[0-9]{1,40}", value):
        raise ValueError
    found = int(value)
    if not -(1 << bits) <= found < 1 << bits:
        raise OverflowError
    return b"%d" % found


def _decimal(type_: DataType, value: Any) -> bytes:
    if isinstance(value, bool | float):
        raise TypeError
    with localcontext(prec=80):
        given = Decimal(value)
        found = given.quantize(Decimal(1).scaleb(-type_.scale))
    if found != given or len(found.as_tuple().digits) > max(type_.precision, type_.scale + 1):
        raise OverflowError
    return format(found if found else abs(found), "f").encode()


def _timestamp(value: Any, *, utc: bool) -> bytes:
    found = datetime.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(found, datetime):
        raise TypeError
    if utc:
        found = (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    elif found.tzinfo is not None:
        raise ValueError
    return found.replace(tzinfo=None).isoformat(timespec="microseconds").encode() + (b"Z" if utc else b"")


def _ends_a_value(literal: str) -> bool:
    first = literal[:1]
    return bool(first) and not first.isalnum() and not first.isspace() and first not in "-%"
