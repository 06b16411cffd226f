"""Thrift's binary protocol, as much as a client needs: calls out, replies in. Pure.

https://github.com/apache/thrift/blob/master/doc/specs/thrift-binary-protocol.md, strict encoding. A call's arguments
and a reply's values are structs, here mappings from field id to value. A value to be sent says its type by its Python
type: bytes and str are binaries, bool, `I32` and `I64` numbers, a list of binaries or of structs a list, a mapping a
struct. Read values are bytes, int, bool, list, dict (a map or a struct). A reply is read from a buffer that may still
grow: `Incomplete` is raised as long as it is not whole.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

BOOL, BYTE, DOUBLE, I16, I32_TYPE, I64_TYPE, BINARY, STRUCT, MAP, SET, LIST = 2, 3, 4, 6, 8, 10, 11, 12, 13, 14, 15
STOP = b"\0"
CALL, REPLY, EXCEPTION = 1, 2, 3

_VERSION = 0x8001_0000
_VERSION_MASK = 0xFFFF_0000
_FIELD = struct.Struct(">bh")
_LIST_HEAD = struct.Struct(">bi")
_MAP_HEAD = struct.Struct(">bbi")
_NUMBERS = {
    BYTE: struct.Struct(">b"),
    DOUBLE: struct.Struct(">d"),
    I16: struct.Struct(">h"),
    I32_TYPE: struct.Struct(">i"),
    I64_TYPE: struct.Struct(">q"),
}
_INT = struct.Struct(">i")

Struct: TypeAlias = Mapping[int, Any]


class I32(int):
    """A number that goes out as an i32."""


class I64(int):
    """A number that goes out as an i64."""


class Incomplete(Exception):
    """The buffer ends before the value does."""


class NotThrift(Exception):
    """The bytes are no reply of a Thrift server that speaks the strict binary protocol."""


def call(name: str, arguments: Struct, sequence: int = 0) -> bytes:
    """A whole call message, without a frame."""
    return call_head(name, sequence) + struct_bytes(arguments)


def call_head(name: str, sequence: int = 0) -> bytes:
    """What stands before the arguments of a call."""
    head = struct.pack(">Ii", _VERSION | CALL, len(name)) + name.encode()
    return head + _INT.pack(sequence)


def field_head(type_: int, number: int) -> bytes:
    return _FIELD.pack(type_, number)


def struct_bytes(fields: Struct) -> bytes:
    """A struct; fields whose value is None are left out."""
    parts = []
    for number, value in fields.items():
        if value is not None:
            parts += [field_head(_type_of(value), number), _value_bytes(value)]
    return b"".join(parts) + STOP


def binary(data: bytes) -> bytes:
    """A binary value with its length."""
    return _INT.pack(len(data)) + data


def _type_of(value: Any) -> int:
    match value:
        case bool():
            return BOOL
        case I32():
            return I32_TYPE
        case I64():
            return I64_TYPE
        case bytes() | str():
            return BINARY
        case list() | tuple():
            return LIST
        case Mapping():
            return STRUCT
        case _:
            raise TypeError(f"no Thrift type for {type(value).__name__}")


def _value_bytes(value: Any) -> bytes:
    match value:
        case bool():
            return b"\1" if value else b"\0"
        case I32():
            return _INT.pack(value)
        case I64():
            return _NUMBERS[I64_TYPE].pack(value)
        case str():
            return binary(value.encode())
        case bytes():
            return binary(value)
        case Mapping():
            return struct_bytes(value)
        case _:
            return _list_bytes(value)


def _list_bytes(values: Sequence[Any]) -> bytes:
    type_ = _type_of(values[0]) if values else BINARY
    return _LIST_HEAD.pack(type_, len(values)) + b"".join(map(_value_bytes, values))


class Reader:
    """Reads values from `data`, from `position` on. After `Incomplete` the position is undefined: keep your own."""

    def __init__(self, data: bytes | bytearray | memoryview, position: int = 0) -> None:
        self.data = data
        self.position = position

    def message(self) -> int:
        """The head of a reply: its type, REPLY or EXCEPTION. Raises NotThrift for anything else."""
        version: int = self.number(I32_TYPE) & 0xFFFF_FFFF
        if version & _VERSION_MASK != _VERSION or version & 0xFF not in (REPLY, EXCEPTION):
            raise NotThrift(f"a reply starts with 0x{version:08x}")
        self.binary()
        self.number(I32_TYPE)
        return version & 0xFF

    def fields(self) -> dict[int, Any]:
        """A struct as a mapping from field id to value."""
        found = {}
        while (head := self.field())[0]:
            found[head[1]] = self.value(head[0])
        return found

    def field(self) -> tuple[int, int]:
        """Type and id of the field that comes next; type 0 at the struct's end."""
        if self.position >= len(self.data):
            raise Incomplete
        if not self.data[self.position]:
            self.position += 1
            return 0, 0
        type_, number = self._unpack(_FIELD)
        return type_, number

    def value(self, type_: int) -> Any:
        """A value of any type."""
        match type_:
            case 11:
                return self.binary()
            case 12:
                return self.fields()
            case 15 | 14:
                element, size = self._unpack(_LIST_HEAD)
                return [self.value(element) for _ in range(size)]
            case 13:
                key, item, size = self._unpack(_MAP_HEAD)
                return {self.value(key): self.value(item) for _ in range(size)}
            case 2:
                return bool(self.number(BYTE))
            case _:
                return self.number(type_)

    def list_head(self) -> tuple[int, int]:
        """The type of a list's elements, and how many there are."""
        element, size = self._unpack(_LIST_HEAD)
        return element, size

    def number(self, type_: int) -> Any:
        if type_ not in _NUMBERS:
            raise NotThrift(f"there is no type {type_}")
        return self._unpack(_NUMBERS[type_])[0]

    def binary(self) -> bytes:
        (size,) = self._unpack(_INT)
        end = self.position + size
        if size < 0 or end > len(self.data):
            if size < 0:
                raise NotThrift(f"a value has {size} bytes")
            raise Incomplete
        found = bytes(self.data[self.position : end])
        self.position = end
        return found

    def _unpack(self, format_: struct.Struct) -> tuple[Any, ...]:
        try:
            found = format_.unpack_from(self.data, self.position)
        except struct.error:
            raise Incomplete from None
        self.position += format_.size
        return found
