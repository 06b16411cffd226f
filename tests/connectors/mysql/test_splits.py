"""Splits of a table: every row is in exactly one of them, on a real server, whatever its keys and collations are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace.connectors.base import PlanRequest, SourcePlan, Window
from millrace.connectors.mysql import splits
from millrace.connectors.mysql.key import SplitKey, split_key
from millrace.connectors.mysql.options import MysqlOptions
from millrace.connectors.mysql.source import MysqlSource
from millrace.connectors.mysql.types import TableColumn
from millrace.spec.connection import parse_url
from tests.servers.mariadb import Database, MariaDb

_UNBOUND = settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def _small_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of a few rows are cut as large ones are."""
    monkeypatch.setattr(splits, "_LEAST_ROWS", 1)


@pytest.fixture(scope="module")
def database(mariadb: MariaDb) -> Iterator[Database]:
    found = mariadb.new_database()
    yield found
    found.drop()


def plan(database: Database, channels: int = 4, **options: Any) -> SourcePlan:
    options = {"connection": "db", "table": "t", **options}
    source = MysqlSource(MysqlOptions.model_validate(options), parse_url("db", database.url, "the test"))
    found: SourcePlan = source.plan(PlanRequest(channels, Window(), None, _no_spark))
    json.dumps([found.splits, found.details])
    return found


def _no_spark() -> Any:
    raise AssertionError("a plan needs no Spark")


def conditions(planned: SourcePlan, database: Database) -> list[str]:
    """The splits' conditions over the table's own column, as the reading statements have them."""
    name = planned.details["tables"][0]["split_by"]
    if name is None:
        return ["1 = 1" for _ in planned.splits]
    type_, full, p, s, charset, collation = database.execute(
        "SELECT DATA_TYPE, COLUMN_TYPE, NUMERIC_PRECISION, NUMERIC_SCALE, CHARACTER_SET_NAME, COLLATION_NAME"
        " FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s AND COLUMN_NAME = %s",
        (database.name, planned.details["tables"][0]["table"], name),
    )[0]
    key = split_key(TableColumn(name, type_, full, p, s, charset, collation, True), "")
    assert isinstance(key, SplitKey)
    return ["1 = 0" if split.get("none") else key.predicate(split, f"`{name}`") for split in planned.splits]


def rows_by_splits(planned: SourcePlan, database: Database, where: str = "1 = 1") -> list[int]:
    """The rows of each split; checks that every row that `where` gives is in exactly one split."""
    found = conditions(planned, database)
    times = " + ".join(f"COALESCE(({c}), 0)" for c in found)
    with database.connect() as link, link.cursor() as cursor:
        cursor.execute("SET time_zone = '+00:00'")
        cursor.execute(f"SELECT COUNT(*) FROM t WHERE ({where}) AND ({times}) <> 1")
        assert cursor.fetchone() == (0,), (planned.splits, found)
        counts = []
        for condition in found:
            cursor.execute(f"SELECT COUNT(*) FROM t WHERE ({where}) AND ({condition})")
            counts.append(int(cursor.fetchone()[0]))
    return counts


def fill(database: Database, column: str, values: Sequence[Any], *, index: str = "KEY (k)", mode: str = "") -> None:
    """A table `t` with a column `k` of these values."""
    with database.connect() as link, link.cursor() as cursor:
        cursor.execute(f"SET sql_mode = '{mode}'")
        cursor.execute("SET time_zone = '+00:00'")
        cursor.execute("DROP TABLE IF EXISTS t")
        cursor.execute(f"CREATE TABLE t (k {column}, n INT{', ' + index if index else ''})")
        if values:
            cursor.executemany("INSERT INTO t VALUES (%s, %s)", [(value, n) for n, value in enumerate(values)])
        cursor.execute("ANALYZE TABLE t")


_TYPES: Mapping[str, st.SearchStrategy[Any]] = {
    "BIGINT": st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-20, 20), st.integers(10**12, 10**12 + 30)),
    "BIGINT UNSIGNED": st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 9)),
    "TINYINT": st.integers(-128, 127),
    "DECIMAL(30,6)": st.decimals(-(10**20), 10**20, places=6),
    "DATE": st.one_of(
        st.dates().map(str), st.sampled_from(["0000-00-00", "2024-00-15", "2024-02-31", "9999-00-00", "0000-01-01"])
    ),
    "DATETIME(6)": st.one_of(
        st.datetimes().map(str),
        st.sampled_from(["0000-00-00 00:00:00", "2024-02-31 01:00:00", "9999-12-31 23:59:59.999999"]),
    ),
    "TIMESTAMP(3) NULL": st.sampled_from(
        [
            "0000-00-00 00:00:00",
            "1970-01-01 00:00:01",
            "2024-03-31 02:30:00",
            "2024-10-27 02:30:00.5",
            "2038-01-19 03:14:07.999",
        ]
    ),
    "YEAR": st.sampled_from([0, 1901, 2024, 2155]),
    **{
        f"VARCHAR(20) CHARACTER SET {collation.split('_')[0]} COLLATE {collation}": st.one_of(
            st.text(alphabet=alphabet, max_size=8),
            st.text(alphabet=alphabet, max_size=2).map(lambda text: "user-" + text),
            st.sampled_from(["", " ", "a ", "a", "A", "A  "]),
        )
        for collation, alphabet in {
            "utf8mb4_general_ci": "aAbBßüÜéE 0 19_-\\'\"%🏭中🙂",
            "utf8mb4_unicode_ci": "aAbBßsSüÜéE 01_-\\'ǆ🏭中",
            "utf8mb4_bin": "aAbB\x01\x7fé🏭\ud7ff\ue000",
            "utf8mb4_nopad_bin": "aA 0\t",
            "latin1_swedish_ci": "aAzZåÄöÿ 09",
            "latin1_german2_ci": "aAuUeEäÄüÜß",
            "utf16_general_ci": "aAb🏭中",
            "gbk_chinese_ci": "aA中文丂0",
            "ascii_general_ci": "aAzZ09~",
        }.items()
    },
    "CHAR(6) CHARACTER SET utf8mb4": st.text(alphabet="aA é", max_size=6),
    "VARBINARY(8)": st.binary(max_size=8),
    "BINARY(4)": st.binary(max_size=4),
}


@pytest.mark.parametrize("type_", _TYPES)
def test_every_row_is_in_exactly_one_split(database: Database, type_: str) -> None:
    @_UNBOUND
    @given(st.lists(st.one_of(st.none(), _TYPES[type_]), max_size=40), st.integers(1, 4), st.booleans())
    def check(values: list[Any], channels: int, indexed: bool) -> None:
        fill(database, type_, values, index="KEY (k)" if indexed else "")
        planned = plan(database, channels, split_by="k")
        assert sum(rows_by_splits(planned, database)) == len(values)

    check()


@pytest.mark.parametrize("type_", ["INT", "VARCHAR(10)", "DATE"])
@pytest.mark.parametrize("values", [[], [None], [None] * 9, ["2024"], ["0"] * 30])
def test_few_or_equal_keys_are_covered_too(database: Database, type_: str, values: list[str | None]) -> None:
    values = ["2024-01-01" if type_ == "DATE" and v else v for v in values]
    fill(database, type_, values)
    planned = plan(database, split_by="k")
    assert sum(rows_by_splits(planned, database)) == len(values)
    assert sum(bool(split.get("null")) for split in planned.splits) == 1


def test_a_not_null_date_has_no_split_for_null_which_mysql_takes_for_a_zero_date(database: Database) -> None:
    fill(database, "DATE NOT NULL", ["0000-00-00", "2024-01-01", "2024-00-01"])
    planned = plan(database, split_by="k")
    assert rows_by_splits(planned, database) == [3]
    fill(database, "DATE NOT NULL", ["0000-00-00"])
    assert rows_by_splits(plan(database, split_by="k"), database) == [1]
    fill(database, "INT NOT NULL", [])
    assert plan(database, split_by="k").splits == ({"none": True},)


def balanced(database: Database, planned: SourcePlan, rows: int, most: float) -> None:
    counts = rows_by_splits(planned, database)
    assert sum(counts) == rows
    assert max(counts) <= most * rows / len(counts), counts


def sequence(database: Database, column: str, value: str, rows: int, where: str = "1 = 1") -> None:
    """A table of many rows made by the server; `value` is SQL over `seq`."""
    with database.connect() as link, link.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS t")
        cursor.execute(f"CREATE TABLE t (k {column} NOT NULL, n INT, KEY (k))")
        cursor.execute(f"INSERT INTO t SELECT {value}, seq FROM seq_1_to_{rows} WHERE {where}")
        cursor.execute("ANALYZE TABLE t")


_SKEWED = "CASE WHEN seq % 10 = 0 THEN seq * 1000000007 ELSE seq END"


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("BIGINT", "seq"), ("BIGINT", "seq * seq * seq"), ("BIGINT", _SKEWED), ("BIGINT", f"-({_SKEWED})"),
        ("BIGINT UNSIGNED", "18446744073709551615 - seq * 3"), ("DATETIME", "'2020-01-01' + INTERVAL seq * seq SECOND"),
        ("DATE", "'1000-01-01' + INTERVAL FLOOR(SQRT(seq)) DAY"), ("DECIMAL(20,4)", "POW(seq, 2.5)"),
        ("VARCHAR(40)", "MD5(seq)"), ("VARCHAR(40)", "CONCAT('user-', LPAD(seq, 9, '0'))"),
        ("VARCHAR(40)", "CONCAT('U-', seq)"), ("VARCHAR(40) COLLATE utf8mb4_bin", "UUID()"),
        ("VARCHAR(40)", "CONCAT(CHAR(CONV('4E00', 16, 10) + seq % 2000 USING utf16), seq)"),
        ("VARCHAR(40) CHARACTER SET latin1", "CONCAT(IF(seq % 2, 'München', 'köln'), seq)"),
        ("VARBINARY(16)", "UNHEX(MD5(seq))"), ("BINARY(16)", "UNHEX(REPLACE(UUID(), '-', ''))"),
    ],
)  # fmt: skip
def test_splits_are_of_about_one_size_however_the_keys_lie(database: Database, column: str, value: str) -> None:
    sequence(database, column, value, 20_000)
    planned = plan(database, split_by="k")
    assert 12 <= len(planned.splits) <= 16
    balanced(database, planned, 20_000, most=2.5)


def test_a_key_that_most_rows_share_leaves_the_others_balanced(database: Database) -> None:
    sequence(database, "VARCHAR(10)", "IF(seq % 2, 'same', LPAD(seq, 6, '0'))", 20_000)
    counts = sorted(rows_by_splits(plan(database, split_by="k"), database))
    assert counts[-1] >= 10_000
    assert counts[-2] <= 2_500


def test_planning_takes_few_statements_that_read_little(database: Database) -> None:
    sequence(database, "VARCHAR(40)", "MD5(seq)", 50_000)
    before = _rows_read(database)
    planned = plan(database, split_by="k")
    read = _rows_read(database) - before
    assert len(planned.splits) == 16
    assert read < 5_000, "the index is asked, the table is not read"


def _rows_read(database: Database) -> int:
    rows = database.execute("SHOW GLOBAL STATUS LIKE 'Handler_read%'")
    return sum(
        int(value)
        for name, value in rows
        if name in ("Handler_read_next", "Handler_read_rnd_next", "Handler_read_prev")
    )


def test_where_bounds_the_ranges_and_their_number(database: Database) -> None:
    sequence(database, "BIGINT", "seq", 20_000)
    where = "k BETWEEN 5000 AND 5999 -- some of them"
    planned = plan(database, split_by="k", where=where)
    assert planned.estimated_rows == pytest.approx(1_000, rel=0.2)
    assert planned.splits[0]["to"] > 5_000
    assert planned.splits[-1] == {"from": planned.splits[-1]["from"], "to": 5_999, "closed": True}
    assert sum(rows_by_splits(planned, database, "k BETWEEN 5000 AND 5999")) == 1_000


def test_rows_added_after_the_plan_with_later_keys_are_left_for_the_next_run(database: Database) -> None:
    sequence(database, "BIGINT", "seq", 1_000)
    planned = plan(database, split_by="k")
    database.execute("INSERT INTO t VALUES (1001, 0), (5000, 0)")
    found = " OR ".join(f"({c})" for c in conditions(planned, database))
    assert database.execute(f"SELECT COUNT(*) FROM t WHERE {found}") == [(1_000,)]


def test_the_primary_key_is_taken_or_the_index_that_serves_where_and_else_one_channel_reads(database: Database) -> None:
    database.execute("DROP TABLE IF EXISTS t")
    database.execute("CREATE TABLE t (id BIGINT PRIMARY KEY AUTO_INCREMENT, day DATE, label ENUM('a','b'), KEY (day))")
    database.execute("INSERT INTO t SELECT seq, '2020-01-01' + INTERVAL seq DIV 10 DAY, 'a' FROM seq_1_to_20000")
    database.execute("ANALYZE TABLE t")
    assert plan(database).details["tables"][0]["split_by"] == "id"
    by_day = plan(database, where="day >= '2025-01-01' AND label = 'a'")
    assert by_day.details["tables"][0]["split_by"] == "day"
    assert sum(rows_by_splits(by_day, database, "day >= '2025-01-01'")) == 20_000 - 18_270 + 1
    for table in ("CREATE TABLE t (a INT)", "CREATE TABLE t (label ENUM('a','b') PRIMARY KEY)"):
        database.execute("DROP TABLE t")
        database.execute(table)
        alone = plan(database)
        assert alone.splits == ({},)
        assert "no primary key to split by: it is read by one channel" in alone.notes[0]


def test_a_view_and_a_column_without_an_index_are_split_with_a_note(database: Database) -> None:
    database.execute("DROP TABLE IF EXISTS t")
    database.execute("DROP TABLE IF EXISTS base")
    database.execute("CREATE TABLE base (k VARCHAR(20) COLLATE utf8mb4_general_ci, n INT)")
    database.execute("INSERT INTO base SELECT CONCAT(IF(seq % 2, 'a', 'B'), seq), seq FROM seq_1_to_5000")
    database.execute("ANALYZE TABLE base")
    database.execute("CREATE VIEW t AS SELECT k, n FROM base WHERE n > 100")
    try:
        for column in ("k", "n"):
            planned = plan(database, split_by=column)
            assert f"no index of {database.name}.t starts with {column}" in planned.notes[0]
            balanced(database, planned, 4_900, most=3)
    finally:
        database.execute("DROP VIEW t")


def test_a_slow_statement_of_the_plan_is_left_out_with_a_note(database: Database) -> None:
    sequence(database, "BIGINT", "seq", 2_000)
    slow = plan(database, split_by="k", where="SLEEP(0.01) = 1", plan_timeout="1s")
    assert "under `where` took longer than plan_timeout: split over the whole table" in slow.notes[0]
    assert slow.splits[-1]["to"] == 2_000
