"""The loops over many keys and rows of a lookup that are worth C, each with a twin in Python that gives the same.

They run in C where the module `_speedups` was compiled when millrace was installed: that takes a C compiler and
Python's headers, and nothing else depends on it. `MILLRACE_SPEEDUPS=off` does without it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

from millrace.connectors.wire.varint import varint
from millrace.spec.types import Kind

if TYPE_CHECKING:
    from millrace.connectors.wire.protobuf_schema import Member

VARIABLE = "MILLRACE_SPEEDUPS"
_MOST_LENGTHS = 4096
_NUMBERS = re.compile(rb"[ \t\r\n]*(?:0|[1-9]\d{0,8})(?:[ \t\r\n]*,[ \t\r\n]*(?:0|[1-9]\d{0,8}))*[ \t\r\n]*")
_SPACE = b" \t\r\n"
_KINDS: Mapping[Kind, str] = {
    Kind.BOOLEAN: "b",
    Kind.TINYINT: "i",
    Kind.SMALLINT: "i",
    Kind.INT: "i",
    Kind.BIGINT: "l",
    Kind.FLOAT: "f",
    Kind.DOUBLE: "d",
    Kind.DECIMAL: "s",
    Kind.STRING: "s",
    Kind.BINARY: "y",
    Kind.DATE: "i",
    Kind.TIMESTAMP: "l",
    Kind.TIMESTAMP_NTZ: "l",
}
RowReader: TypeAlias = Callable[[bytes], dict[str, Any] | None]


class _ByLength(dict[int, bytes]):
    """What stands before something, by its length."""

    def __init__(self, make: Callable[[int], bytes]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, length: int) -> bytes:
        if len(self) >= _MOST_LENGTHS:
            self.clear()
        found = self[length] = self._make(length)
        return found


_ARGUMENTS = _ByLength(lambda length: b"\r\n$%d\r\n" % length)  # the end of the one before is in it
_VALUES = _ByLength(lambda length: b"\x12" + varint(length))


def number_keys_in_python(text: bytes, before: bytes, after: bytes) -> list[bytes] | None:
    """`before`, a number, `after`, for each number of a JSON list, of which `text` is what its brackets hold.

    None when there is none, or one that is negative, not whole, or of ten digits or more.
    """
    if _NUMBERS.fullmatch(text) is None:
        return None
    numbers = text.translate(None, _SPACE)
    if b"," in before or b"," in after:
        return [b"%b%b%b" % (before, number, after) for number in numbers.split(b",")]
    return (before + numbers.replace(b",", b"%b,%b" % (after, before)) + after).split(b",")


def mget_command_in_python(keys: Sequence[bytes]) -> bytes:
    """Redis' command `MGET` for these keys in its wire form (RESP2)."""
    pieces: list[bytes] = [b""] * (2 * len(keys))
    pieces[::2] = map(_ARGUMENTS.__getitem__, map(len, keys))  # no step of this is done key by key in Python
    pieces[1::2] = keys
    return b"*%d\r\n$4\r\nMGET%b\r\n" % (len(keys) + 1, b"".join(pieces))


def rows_message_in_python(front: bytes, values: Sequence[bytes | None]) -> bytes:
    """See `rows_message`."""
    missing = [index for index, value in enumerate(values) if value is None] if not all(values) else ()
    whole: Sequence[Any] = [value or b"" for value in values] if missing else values
    parts: list[Any] = [b""] * (2 * len(values))
    parts[::2] = map(_VALUES.__getitem__, map(len, whole))  # nor is one of this
    parts[1::2] = whole
    parts.insert(0, front)
    if missing:
        indexes = b"".join([varint(index) for index in missing])
        parts.append(b"\x1a" + varint(len(indexes)) + indexes)
    return b"".join(parts)


def _compiled() -> ModuleType | None:
    if os.environ.get(VARIABLE, "").lower() in ("off", "0", "no", "false"):
        return None
    try:
        from millrace.connectors.wire import _speedups
    except ImportError:
        return None
    return _speedups


_C: Any = _compiled()
#: How the loops run in this process: `C` or `Python`.
LANGUAGE = "Python" if _C is None else "C"


number_keys: Callable[[bytes, bytes, bytes], list[bytes] | None]
number_keys = number_keys_in_python if _C is None else _C.number_keys
mget_command: Callable[[Sequence[bytes]], bytes] = mget_command_in_python if _C is None else _C.mget_command


def rows_message(front: bytes, values: Sequence[bytes | None]) -> bytes:
    """`front`, and a `millrace.v1.Rows`' fields 2, each value, and 3, the indexes of those that are None."""
    if _C is not None:
        found: bytes | None = _C.rows_message(front, values)
        if found is not None:
            return found
    return rows_message_in_python(front, values)


def row_reader(members: Sequence[tuple[Member, Callable[[Any], Any] | None]]) -> RowReader | None:
    """From a message to a row, for scalar members, each with what makes its value of what is stored.

    The reader gives None for a message that Protobuf's own parser must look at: for one that is none, that has other
    fields, or is written in an unusual way. None in Python, where that parser is as quick.
    """
    if _C is None:
        return None
    columns = tuple((m.column.name, m.number, _KINDS[m.item.kind], convert) for m, convert in members)
    try:
        reader: RowReader = _C.RowReader(columns)
    except ValueError:  # more columns, or greater numbers, than it is made for
        return None
    return reader
