"""Columns of Spark by name, whatever characters it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql.column import Column


def quoted(name: str) -> str:
    """A name as Spark's SQL and `select` take it."""
    return "`" + name.replace("`", "``") + "`"


def named(name: str) -> Column:
    """The column of this name, dots in it and all."""
    from pyspark.sql import functions as f

    return f.col(quoted(name))
