"""What a spec says of a MySQL source."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated

from pydantic import Field, field_validator

from millrace.spec.connector import Options
from millrace.spec.shape.fields import Columns
from millrace.spec.types import Column
from millrace.spec.units import Duration

_SETTING = re.compile(r"[a-z][a-z0-9_]{0,63}")
#: Session settings that reading itself relies on.
_OWN_SETTINGS = frozenset(
    {"time_zone", "character_set_results", "character_set_client", "character_set_connection", "names"}
)


class MysqlOptions(Options):
    """Rows of one table or view of MySQL or MariaDB, read by JDBC in parallel ranges of one column."""

    connection: str = Field(
        description="Name of the connection: mysql://user:password@host:port/database, or mariadb://….",
        examples=["mysql_main"],
    )
    table: str = Field(min_length=1, max_length=64, description="The table or view to read.", examples=["users"])
    database: str = Field(
        default="", max_length=64, description="Its database; by default that of the connection.", examples=["shop"]
    )
    columns: Columns | None = Field(
        default=None,
        description="The columns to read, in this order; by default all visible ones in the table's order.",
        examples=[["id", "name", "updated_at"]],
    )
    where: str = Field(
        default="",
        description="An SQL condition in MySQL's own words; only rows for which it is true are read.",
        examples=["deleted = 0 AND country = 'NO'"],
    )
    split_by: str = Field(
        default="",
        max_length=64,
        description="The column whose ranges are read side by side: an integer, decimal, date, time, char or binary"
        " column, at best the first of an index. By default the first column of the index that serves `where`, or of"
        " the primary key.",
        examples=["id"],
    )
    plan_timeout: Annotated[Duration, Field(ge=timedelta(seconds=1))] = Field(
        default=timedelta(seconds=10),
        description="The longest that the server may work on one statement of the plan; what takes longer is left out"
        " of the plan and a coarser way is taken.",
        examples=["30s"],
    )
    session: Mapping[str, str | int] = Field(
        default={},
        description="Session variables of every connection that reads, e.g. to wait longer for a slow target.",
        examples=[{"net_write_timeout": 3600}],
    )

    @field_validator("where")
    @classmethod
    def _is_one_condition(cls, where: str) -> str:
        if "\x00" in where:
            raise ValueError("`where` holds a NUL character")
        return where.strip()

    @field_validator("session")
    @classmethod
    def _are_settings(cls, session: Mapping[str, str | int]) -> Mapping[str, str | int]:
        for name, value in session.items():
            if not _SETTING.fullmatch(name):
                raise ValueError(f"'{name}' is no name of a session variable, such as net_write_timeout")
            if name in _OWN_SETTINGS:
                raise ValueError(f"'{name}' can't be set: times are read in UTC and texts as utf8mb4 in any case")
            if isinstance(value, str) and not re.fullmatch(r"[\w ,.:+-]*", value, re.ASCII):
                raise ValueError(f"the value of '{name}' has characters that no session variable needs: {value!r}")
        return session

    def known_columns(self) -> Sequence[Column | str] | None:
        """The names in `columns`; their types are the table's."""
        return self.columns
