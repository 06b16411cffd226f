"""Every MySQL type, read on Spark from a real server: exact values, NULLs everywhere, and the table in the docs."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from millrace.connectors.base import PlanRequest, SourcePlan, Window
from millrace.connectors.mysql.options import MysqlOptions
from millrace.connectors.mysql.source import MysqlSource
from millrace.connectors.mysql.types import TableColumn, read_column
from millrace.errors import SourceError
from millrace.jobs.gate import GateServer, StepLimits
from millrace.spec.connection import parse_url
from tests.servers.mariadb import Database, MariaDb

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_DOCS = Path(__file__).resolve().parents[3] / "docs" / "mysql.md"
UTC = dt.UTC


@pytest.fixture(scope="module", params=["arrow", "jdbc"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """One on a server that speaks TLS, which only JDBC reads, and one on a server that doesn't."""
    server: MariaDb = (
        request.getfixturevalue("mariadb") if request.param == "arrow" else request.getfixturevalue("tls")[0]
    )
    found = server.new_database()
    yield found
    found.drop()


def make(database: Database, columns: str, *rows: str) -> None:
    """A table `t`; rows as SQL tuples, written with zero dates and dates that don't exist allowed."""
    with database.connect() as link, link.cursor() as cursor:
        cursor.execute("SET sql_mode = 'ALLOW_INVALID_DATES'")
        cursor.execute("SET time_zone = '+00:00'")
        cursor.execute("DROP TABLE IF EXISTS t")
        cursor.execute(f"CREATE TABLE t ({columns})")
        for row in rows:
            cursor.execute(f"INSERT INTO t VALUES ({row})")


def read(database: Database, spark: SparkSession, **options: Any) -> tuple[SourcePlan, list[tuple[Any, ...]]]:
    options = {"connection": "db", "table": "t", **options}
    source = MysqlSource(MysqlOptions.model_validate(options), parse_url("db", database.url, "the test"))
    planned = source.plan(PlanRequest(2, Window(), None, lambda: spark))
    with GateServer() as gate:
        found = source.read(spark, planned, gate.open_step("read", StepLimits()))
        assert found.gated == ("ssl-ca" not in database.server.settings)
        assert [(f.name, f.dataType.simpleString()) for f in found.frame.schema.fields] == [
            (c.name, str(c.type)) for c in planned.columns
        ]
        table = found.frame.toArrow()  # as a target gets it: no conversion to Python's own dates on the way
        return planned, [tuple(row.values()) for row in table.to_pylist()]


_VALUES: Sequence[tuple[str, str, Sequence[tuple[str, Any]]]] = [
    ("TINYINT(1)", "tinyint", [("-128", -128), ("2", 2), ("0", 0)]),
    ("TINYINT UNSIGNED", "smallint", [("255", 255)]),
    ("SMALLINT", "smallint", [("-32768", -32768)]),
    ("SMALLINT UNSIGNED", "int", [("65535", 65535)]),
    ("MEDIUMINT", "int", [("-8388608", -8388608)]),
    ("MEDIUMINT UNSIGNED", "int", [("16777215", 16777215)]),
    ("INT", "int", [("-2147483648", -(2**31))]),
    ("INT UNSIGNED ZEROFILL", "bigint", [("4294967295", 2**32 - 1)]),
    ("BIGINT", "bigint", [("-9223372036854775808", -(2**63))]),
    ("BIGINT UNSIGNED", "decimal(20,0)", [("18446744073709551615", Decimal(2**64 - 1))]),
    (
        "DECIMAL(38,10)",
        "decimal(38,10)",
        [("-9999999999999999999999999999.9999999999", Decimal("-" + "9" * 28 + "." + "9" * 10))],
    ),
    ("DECIMAL(10,0)", "decimal(10,0)", [("42", Decimal(42))]),
    ("DECIMAL(65,30)", "string", [("1.5", "1.5" + "0" * 29), ("-" + "9" * 35, "-" + "9" * 35 + "." + "0" * 30)]),
    ("FLOAT", "float", [("1.2345678", 1.2345677614212036), ("3.4e38", 3.3999999521443642e38)]),
    ("DOUBLE", "double", [("0.1", 0.1), ("1.7976931348623157e308", 1.7976931348623157e308), ("-2.5e-300", -2.5e-300)]),
    ("BIT(1)", "boolean", [("b'1'", True), ("b'0'", False)]),
    ("BIT(12)", "bigint", [("b'100000000001'", 2049)]),
    ("BIT(64)", "decimal(20,0)", [("18446744073709551615", Decimal(2**64 - 1))]),
    ("YEAR", "smallint", [("2155", 2155), ("0", 0)]),
    (
        "DATE",
        "date",
        [
            ("'2024-02-29'", dt.date(2024, 2, 29)),
            ("'0001-01-01'", dt.date(1, 1, 1)),
            ("'9999-12-31'", dt.date(9999, 12, 31)),
            ("'1582-10-10'", dt.date(1582, 10, 10)),
            ("'0000-00-00'", None),
            ("'2024-00-15'", None),
            ("'2024-02-31'", None),
            ("'0000-01-01'", None),
            ("'2024-02-00'", None),
            ("'2023-02-29'", None),
            ("'2024-01-31'", dt.date(2024, 1, 31)),
        ],
    ),
    (
        "DATETIME(6)",
        "timestamp_ntz",
        [
            ("'2024-03-31 02:30:00.123456'", dt.datetime(2024, 3, 31, 2, 30, 0, 123456)),
            ("'0001-01-01 00:00:00'", dt.datetime(1, 1, 1)),
            ("'9999-12-31 23:59:59.999999'", dt.datetime(9999, 12, 31, 23, 59, 59, 999999)),
            ("'0000-00-00 00:00:00'", None),
            ("'2024-02-31 01:02:03'", None),
            ("'2024-00-01 00:00:00'", None),
        ],
    ),
    (
        "TIMESTAMP(6) NULL",
        "timestamp",
        [
            ("'2024-10-27 01:30:00.5'", dt.datetime(2024, 10, 27, 1, 30, 0, 500000, UTC)),
            ("'1970-01-01 00:00:01'", dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)),
            ("'2038-01-19 03:14:07.999999'", dt.datetime(2038, 1, 19, 3, 14, 7, 999999, UTC)),
            ("'0000-00-00 00:00:00'", None),
        ],
    ),
    ("TIME(3)", "string", [("'-838:59:59.000'", "-838:59:59.000"), ("'12:34:56.789'", "12:34:56.789")]),
    ("CHAR(10)", "string", [("'köln  '", "köln"), ("''", "")]),
    ("VARCHAR(50)", "string", [("'🏭 中文 \\\\ '' \\n'", "🏭 中文 \\ ' \n"), ("'  '", "  ")]),
    ("VARCHAR(20) CHARACTER SET latin1", "string", [("'Zürich ß€'", "Zürich ß€")]),
    ("VARCHAR(20) CHARACTER SET gbk", "string", [("'中文'", "中文")]),
    ("VARCHAR(20) CHARACTER SET utf16", "string", [("'a🏭'", "a🏭")]),
    ("VARCHAR(20) CHARACTER SET sjis", "string", [("'日本語'", "日本語")]),
    ("TINYTEXT", "string", [("'x'", "x")]),
    ("TEXT", "string", [("REPEAT('é', 5000)", "é" * 5000)]),
    ("MEDIUMTEXT", "string", [("'x'", "x")]),
    ("LONGTEXT", "string", [("REPEAT('x', 1000000)", "x" * 1_000_000)]),
    ("ENUM('small','größer')", "string", [("'größer'", "größer")]),
    ("SET('a','b','ü')", "string", [("'a,ü'", "a,ü"), ("''", "")]),
    ("JSON", "string", [('\'{"a": [1, "é"]}\'', '{"a": [1, "é"]}')]),
    ("UUID", "string", [("'123e4567-e89b-12d3-a456-426655440000'", "123e4567-e89b-12d3-a456-426655440000")]),
    ("INET6", "string", [("'2001:db8::1'", "2001:db8::1")]),
    ("BINARY(4)", "binary", [("X'00FF'", b"\x00\xff\x00\x00")]),
    ("VARBINARY(10)", "binary", [("X'C3'", b"\xc3"), ("''", b"")]),
    ("TINYBLOB", "binary", [("'x'", b"x")]),
    ("BLOB", "binary", [("X'000102'", b"\x00\x01\x02")]),
    ("MEDIUMBLOB", "binary", [("'x'", b"x")]),
    ("LONGBLOB", "binary", [("REPEAT(X'FF', 100000)", b"\xff" * 100_000)]),
    (
        "GEOMETRY",
        "binary",
        [("ST_GeomFromText('POINT(1 2)')", bytes.fromhex("0101000000000000000000f03f0000000000000040"))],
    ),
    ("POINT", "binary", [("ST_GeomFromText('POINT(0 0)')", bytes.fromhex("01010000000000000000000000" + "00" * 8))]),
]


@pytest.fixture(scope="module")
def wide_rows(database: Database, spark: SparkSession) -> tuple[SourcePlan, list[tuple[Any, ...]]]:
    """One table with all types; row i has each type's value i, or NULL when there is none; the last is all NULL."""
    columns = ", ".join(f"c{i} {mysql} DEFAULT NULL" for i, (mysql, *_) in enumerate(_VALUES))
    most = max(len(values) for *_, values in _VALUES)
    rows = [
        ", ".join([str(n), *(values[n][0] if n < len(values) else "NULL" for *_, values in _VALUES)])
        for n in range(most + 1)
    ]
    make(database, f"n INT PRIMARY KEY, {columns}", *rows)
    planned, found = read(database, spark)
    return planned, sorted(found)


@pytest.mark.parametrize("number", range(len(_VALUES)), ids=[mysql.replace(" ", "_") for mysql, *_ in _VALUES])
def test_a_type_keeps_its_values(wide_rows: tuple[SourcePlan, list[tuple[Any, ...]]], number: int) -> None:
    planned, rows = wide_rows
    _, ours, values = _VALUES[number]
    assert str(planned.columns[number + 1].type) == ours
    expected = [value for _, value in values]
    assert [row[number + 1] for row in rows] == expected + [None] * (len(rows) - len(expected))


def test_times_do_not_depend_on_the_zone_of_spark_or_of_the_server(database: Database, spark: SparkSession) -> None:
    make(
        database, "id INT PRIMARY KEY, w DATETIME, i TIMESTAMP NULL", "1, '2024-03-31 02:30:00', '2024-03-31 01:30:00'"
    )
    database.execute("SET GLOBAL time_zone = '-07:00'")
    spark.conf.set("spark.sql.session.timeZone", "Europe/Berlin")
    try:
        _, rows = read(database, spark)
    finally:
        database.execute("SET GLOBAL time_zone = '+00:00'")
        spark.conf.set("spark.sql.session.timeZone", "UTC")
    assert rows[0][1] == dt.datetime(2024, 3, 31, 2, 30)
    assert rows[0][2].astimezone(UTC) == dt.datetime(2024, 3, 31, 1, 30, tzinfo=UTC)


def test_columns_may_have_any_names(database: Database, spark: SparkSession) -> None:
    make(database, "`order` INT PRIMARY KEY, `a.b c` INT, `größe` INT, `SELECT *` INT, `{c}` INT", "1, 2, 3, 4, 5")
    planned, rows = read(database, spark)
    assert [c.name for c in planned.columns] == ["order", "a.b c", "größe", "SELECT *", "{c}"]
    assert rows == [(1, 2, 3, 4, 5)]
    assert read(database, spark, columns=["größe", "order"], split_by="a.b c")[1] == [(3, 1)]


def test_a_type_that_is_not_known_is_refused_with_a_way_out() -> None:
    assert read_column(TableColumn("v", "vector", "vector(3)", None, None, None, None, True)) is None


def test_the_docs_have_the_table_of_types() -> None:
    documented = dict(re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|", _DOCS.read_text(), re.MULTILINE))
    made = {
        mysql.split(" CHARACTER")[0].removesuffix(" NULL").removesuffix(" ZEROFILL"): ours
        for mysql, ours, *_ in _VALUES
    }
    for mysql, ours in made.items():
        name = re.sub(r"\(.*\)", "", mysql) if mysql not in documented else mysql
        assert documented.get(name) == ours, mysql


def test_a_table_with_an_unreadable_column_names_the_others(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from millrace.connectors.mysql import types

    make(database, "id INT PRIMARY KEY, name TEXT, at TIME")
    monkeypatch.setattr(types, "_OTHERS", {k: v for k, v in types._OTHERS.items() if k != "time"})
    source = MysqlSource(MysqlOptions(connection="db", table="t"), parse_url("db", database.url, "the test"))
    with pytest.raises(SourceError, match="no type of ours holds at time") as caught:
        source.plan(PlanRequest(1, Window(), None, lambda: pytest.fail("no Spark")))
    assert "name the other columns in `columns`: id, name" in caught.value.hint
