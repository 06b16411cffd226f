"""The columns of JSON messages, from some of them. Pure. Texts stay texts: whether one is a time, a person knows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from millrace.errors import SourceError
from millrace.spec.types import Column, DataType, Kind, parse_type

_MOST_BIGINT = 1 << 63


def infer_schema(values: Sequence[bytes], topic: str) -> tuple[Column, ...]:
    """The fields of the messages that are JSON objects, in the order in which they first come.

    Raises SourceError when there is none, or when a field is of two types.
    """
    objects = [value for text in values if isinstance(value := _loaded(text), dict)]
    if not objects:
        seen = f"none of {len(values):,} messages is a JSON object" if values else "it has no messages"
        raise SourceError(f"inferring the schema of {topic}: {seen}", hint="declare the columns in `schema`")
    try:
        members = _members(objects)
        for member in members:
            parse_type(str(member.type))  # refuses a struct's members whose names no type can spell
    except ValueError as error:
        raise SourceError(
            f"inferring the schema of {topic}: {error}", hint="declare the columns to read in `schema`"
        ) from error
    return members


def _loaded(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _members(objects: Iterable[Mapping[str, Any]]) -> tuple[Column, ...]:
    found: dict[str, list[Any]] = {}
    for value in objects:
        for name, member in value.items():
            found.setdefault(name, []).append(member)
    return tuple(Column(name, _type(name, members)) for name, members in found.items())


def _type(name: str, values: Sequence[Any]) -> DataType:
    """The one type that holds these values; a string where all are null."""
    there = [value for value in values if value is not None]
    kinds = {type(value) for value in there}
    if not there or kinds == {str}:
        return DataType(Kind.STRING)
    if kinds == {bool}:
        return DataType(Kind.BOOLEAN)
    if kinds == {int}:
        small = all(-_MOST_BIGINT <= value < _MOST_BIGINT for value in there)
        return DataType(Kind.BIGINT) if small else DataType(Kind.DECIMAL, 38, 0)
    if kinds <= {int, float}:
        return DataType(Kind.DOUBLE)
    if kinds == {list}:
        return DataType(Kind.ARRAY, fields=(Column("element", _type(name, [v for part in there for v in part])),))
    if kinds == {dict}:
        members = _members(there)
        if members:
            return DataType(Kind.STRUCT, fields=members)
        raise ValueError(f"the objects in '{name}' are all empty")
    raise ValueError(f"'{name}' is of several types: {', '.join(sorted(_WORDS[kind] for kind in kinds))}")


_WORDS: Mapping[type, str] = {
    str: "text", bool: "boolean", int: "whole number", float: "number", list: "list", dict: "object",
}  # fmt: skip
