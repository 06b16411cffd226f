"""Insert a row unless its key is there, the same way in every dialect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Table, insert, select
from sqlalchemy.exc import IntegrityError


def insert_if_absent(connection: Connection, table: Table, values: Mapping[str, Any]) -> bool:
    """Whether the row was inserted; False leaves the one with the same primary key as it is.

    Any other broken constraint is raised.
    """
    try:
        with connection.begin_nested():
            connection.execute(insert(table).values(values))
    except IntegrityError:
        key = [column == values[column.name] for column in table.primary_key.columns]
        if connection.execute(select(*table.primary_key.columns).where(*key)).first() is None:
            raise
        return False
    return True
