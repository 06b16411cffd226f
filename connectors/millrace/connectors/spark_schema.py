"""Columns as Spark's DDL."""

from __future__ import annotations

from collections.abc import Sequence

from millrace.spec.types import Column


def spark_ddl(columns: Sequence[Column]) -> str:
    """The columns as a schema text for Spark, names quoted."""
    return ", ".join(f"`{c.name.replace('`', '``')}` {c.type}" for c in columns)
