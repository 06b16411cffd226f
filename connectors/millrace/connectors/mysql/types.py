"""MySQL's column types as ours. Pure; `docs/mysql.md` shows this table, and a test compares the two.

Each column is read through an SQL expression that leaves nothing to the drivers' opinion: dates and times come as
numbers counted by the server (a JDBC date passes through the JVM's zone and calendar), texts as their UTF-8 bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from millrace.spec.types import Column, DataType, Kind, parse_type

_MOST_DIGITS = 38
_MOST_SIGNED_BITS = 63


@dataclass(frozen=True)
class TableColumn:
    """A column as `information_schema.columns` describes it. `type` is e.g. `int`, `full_type` `int(10) unsigned`."""

    name: str
    type: str
    full_type: str
    precision: int | None
    scale: int | None
    charset: str | None
    collation: str | None
    nullable: bool
    visible: bool = True

    @property
    def unsigned(self) -> bool:
        return "unsigned" in self.full_type.split()


@dataclass(frozen=True)
class ColumnRead:
    """How a column is read: SQL on the server, the type that JDBC hands over, and what Spark makes of it.

    `{c}` stands for the quoted column in `sql` and `arrow`, and for what JDBC gave in `spark`. `arrow` is the SQL where
    the rows are read as Arrow, if that differs.
    """

    type: DataType
    sql: str = "{c}"
    jdbc: str = ""
    spark: str = "{c}"
    arrow: str = ""

    @property
    def arrow_sql(self) -> str:
        return self.arrow or self.sql

    @property
    def jdbc_type(self) -> str:
        return self.jdbc or str(self.type)


_WHOLE_DAY = "{c} >= '0001-01-01' AND (DAY({c}) <= 28 OR DAY({c}) <= DAY(LAST_DAY({c})))"
_DAYS = f"CASE WHEN {_WHOLE_DAY} THEN DATEDIFF({{c}}, '1970-01-01') END"
_MICROSECONDS = f"CASE WHEN {_WHOLE_DAY} THEN TIMESTAMPDIFF(MICROSECOND, '1970-01-01', {{c}}) END"
_INSTANT_US = "CASE WHEN {c} > '0001-01-01' THEN TIMESTAMPDIFF(MICROSECOND, '1970-01-01', {c}) END"
_TEXT = "CAST({c} AS CHAR)"
_AS_STRING = "cast({c} as string)"


def _plain(type_: str) -> ColumnRead:
    return ColumnRead(parse_type(type_))


def _string(sql: str = "{c}") -> ColumnRead:
    return ColumnRead(DataType(Kind.STRING), sql, "binary", _AS_STRING)


_SIGNED: Mapping[str, str] = {
    "tinyint": "tinyint", "smallint": "smallint", "mediumint": "int", "int": "int", "integer": "int",
    "bigint": "bigint",
}  # fmt: skip
_UNSIGNED: Mapping[str, str] = {
    "tinyint": "smallint", "smallint": "int", "mediumint": "int", "int": "bigint", "integer": "bigint",
    "bigint": "decimal(20,0)",
}  # fmt: skip
_OTHERS: Mapping[str, ColumnRead] = {
    "float": _plain("float"),
    "double": _plain("double"),
    "real": _plain("double"),
    "year": ColumnRead(parse_type("smallint"), "CAST({c} AS SIGNED)", "int", "cast({c} as smallint)"),
    "date": ColumnRead(parse_type("date"), _DAYS, "int", "date_from_unix_date({c})"),
    "datetime": ColumnRead(
        parse_type("timestamp_ntz"),
        _MICROSECONDS,
        "bigint",
        "timestampadd(MICROSECOND, {c}, timestamp_ntz'1970-01-01 00:00:00')",
    ),
    "timestamp": ColumnRead(parse_type("timestamp"), _INSTANT_US, "bigint", "timestamp_micros({c})"),
    "time": _string(_TEXT),
    **dict.fromkeys(("varchar", "tinytext", "text", "mediumtext", "longtext"), _string()),
    # As CHAR they would reach Spark as char(n), which it fills up with spaces.
    **dict.fromkeys(("char", "enum", "set", "json", "uuid", "inet4", "inet6"), _string(_TEXT)),
    **dict.fromkeys(("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"), _plain("binary")),
    **dict.fromkeys(
        ("geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon",
         "geometrycollection", "geomcollection"),
        ColumnRead(parse_type("binary"), "ST_AsBinary({c})"),
    ),
}  # fmt: skip


SHARD_NAME = _string()
"""How the name of a row's shard is read."""


def read_column(column: TableColumn) -> ColumnRead | None:
    """How to read a column; None for a type that isn't known."""
    match column.type:
        case "decimal" | "numeric":
            return _decimal(column)
        case "bit":
            return _bits(int(re.sub(r"\D", "", column.full_type) or 1))
        case name if name in _SIGNED:
            return _plain((_UNSIGNED if column.unsigned else _SIGNED)[name])
        case name:
            return _OTHERS.get(name)


def our_column(column: TableColumn, read: ColumnRead) -> Column:
    return Column(column.name, read.type)


def _decimal(column: TableColumn) -> ColumnRead:
    precision, scale = column.precision or 10, column.scale or 0
    if precision > _MOST_DIGITS:
        return _string(_TEXT)
    return ColumnRead(DataType(Kind.DECIMAL, precision, scale), arrow=_TEXT)


def _bits(width: int) -> ColumnRead:
    number = "CAST({c} AS UNSIGNED)"
    if width == 1:
        return ColumnRead(DataType(Kind.BOOLEAN), number, "bigint", "{c} <> 0")
    if width <= _MOST_SIGNED_BITS:
        return ColumnRead(DataType(Kind.BIGINT), number)
    return ColumnRead(DataType(Kind.DECIMAL, 20, 0), number)
