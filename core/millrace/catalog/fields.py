"""Protobuf field numbers of an asset's columns: given once to a name and type, and never to another."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, insert, select

from millrace.catalog import schema
from millrace.catalog.model import AssetField
from millrace.errors import SpecError
from millrace.spec.types import Column

# https://protobuf.dev/programming-guides/proto3/#assigning
_RESERVED = range(19_000, 20_000)
_LARGEST = 2**29 - 1


def assign(known: Sequence[AssetField], columns: Sequence[Column]) -> tuple[AssetField, ...]:
    """A numbered field for each column, in the columns' order.

    A column that was there before with the same type has its old number; with another type, or a new name, it gets a
    number that nobody ever had. Raises SpecError for a name that stands there twice, or when no number is left.
    """
    numbers = {(f.name, f.type): f.number for f in known}
    seen: set[str] = set()
    found = []
    highest = max(numbers.values(), default=0)
    for column in columns:
        if column.name in seen:
            raise SpecError(f"the column '{column.name}' stands there twice", hint="rename one of the two")
        seen.add(column.name)
        key = (column.name, str(column.type))
        if key not in numbers:
            highest = _after(highest)
            numbers[key] = highest
        found.append(AssetField(*key, numbers[key]))
    return tuple(found)


def of_asset(connection: Connection, asset: str) -> tuple[AssetField, ...]:
    """Every number that the asset ever gave, in their order."""
    table = schema.field
    statement = (
        select(table.c.name, table.c.type, table.c.number).where(table.c.asset == asset).order_by(table.c.number)
    )
    return tuple(AssetField(*row) for row in connection.execute(statement))


def keep(connection: Connection, asset: str, columns: Sequence[Column]) -> tuple[AssetField, ...]:
    """Assign, and keep what is new. The asset must be locked."""
    known = of_asset(connection, asset)
    fields = assign(known, columns)
    old = {f.number for f in known}
    new = [{"asset": asset, "number": f.number, "name": f.name, "type": f.type} for f in fields if f.number not in old]
    if new:
        connection.execute(insert(schema.field), new)
    return fields


def _after(number: int) -> int:
    following = number + 1
    if following in _RESERVED:
        following = _RESERVED.stop
    if following > _LARGEST:
        raise SpecError("every Protobuf field number of this asset has been given", hint="declare it as a new asset")
    return following
