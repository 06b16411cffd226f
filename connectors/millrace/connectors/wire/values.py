"""Values as readers get them: a Python value for each column type, and the error for bytes that hold none.

boolean → bool, integers → int, float and double → float, decimal → Decimal, string → str, binary → bytes, date → date,
timestamp → datetime in UTC, timestamp_ntz → datetime without a zone, array → list, map → dict, struct → dict by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import InvalidOperation
from typing import Any, TypeAlias, TypeVar

from millrace.errors import MillraceError
from millrace.spec.types import Column, DataType, Kind

Convert: TypeAlias = Callable[[Any], Any]
Leaves: TypeAlias = Callable[[DataType], Convert | None]

_Input = TypeVar("_Input")
_Output = TypeVar("_Output")
_UNREADABLE: tuple[type[Exception], ...] = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
    InvalidOperation,
)


class UnreadableValue(MillraceError):
    """Stored bytes that are not what the version's schema says; a reader can't answer from them."""


def unreadable(what: str, cause: Exception) -> UnreadableValue:
    return UnreadableValue(
        f"{what} can't be decoded: {type(cause).__name__}: {cause}",
        hint="another program may have written under this key, or the schema belongs to another version",
    )


def readable(
    decode: Callable[[_Input], _Output], what: str, also: tuple[type[Exception], ...] = ()
) -> Callable[[_Input], _Output]:
    """`decode`, with what it raises on bad bytes (and `also`, a library's own errors) turned into UnreadableValue."""
    caught = (*_UNREADABLE, *also)

    def checked(data: _Input) -> _Output:
        try:
            return decode(data)
        except caught as error:
            raise unreadable(what, error) from error

    return checked


def row_of(columns: Sequence[Column], leaf: Leaves, key: Leaves) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """From plain values by name to Python values by name, in the columns' order; what is missing is None.

    `leaf` says how a scalar's plain form becomes its Python value (None: it already is), `key` the same for map keys.
    """
    names = [column.name for column in columns]
    converts = [(c.name, convert) for c in columns if (convert := converter(c.type, leaf, key)) is not None]

    def row(values: Mapping[str, Any]) -> dict[str, Any]:
        get = values.get
        found = {name: get(name) for name in names}
        for name, convert in converts:
            value = found[name]
            if value is not None:
                found[name] = convert(value)
        return found

    return row


def converter(type_: DataType, leaf: Leaves, key: Leaves) -> Convert | None:
    """How a value of this type becomes its Python value, members included; None when it already is one."""
    match type_.kind:
        case Kind.ARRAY:
            return _list_of(converter(type_.fields[0].type, leaf, key))
        case Kind.MAP:
            return _dict_of(key(type_.fields[0].type), converter(type_.fields[1].type, leaf, key))
        case Kind.STRUCT:
            return row_of(type_.fields, leaf, key)
        case _:
            return leaf(type_)


def _list_of(element: Convert | None) -> Convert | None:
    if element is None:
        return None
    return lambda values: [None if value is None else element(value) for value in values]


def _dict_of(key: Convert | None, value: Convert | None) -> Convert | None:
    if key is None and value is None:
        return None
    keyed, valued = key or _same, value or _same
    return lambda items: {keyed(k): None if v is None else valued(v) for k, v in items.items()}


def _same(value: Any) -> Any:
    return value
