"""How each store says what a query asks: one small class for each dialect, by the name that its reader has."""

from __future__ import annotations

from collections.abc import Mapping

from millrace.errors import NotAvailable
from millrace.serving.sql.dialects.base import Dialect, Statement, Table
from millrace.serving.sql.dialects.clickhouse import ClickHouseDialect
from millrace.serving.sql.dialects.druid import DruidDialect
from millrace.serving.sql.dialects.mysql import MysqlDialect

__all__ = ["Dialect", "Statement", "Table", "dialect"]

_DIALECTS: Mapping[str, Dialect] = {
    found.name: found for found in (ClickHouseDialect(), DruidDialect(), MysqlDialect())
}


def dialect(name: str) -> Dialect:
    """The dialect of that name. Raises NotAvailable that lists those there are."""
    found = _DIALECTS.get(name)
    if found is None:
        raise NotAvailable(f"no queries are compiled to '{name}'", hint=f"known dialects: {', '.join(_DIALECTS)}")
    return found
