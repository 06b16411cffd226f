"""Names, types and statements of the ClickHouse layout."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.connectors.clickhouse import layout
from millrace.connectors.clickhouse.layout import Marker, Place
from millrace.connectors.clickhouse.options import ClickHouseOptions
from millrace.spec.types import Column, DataType, Kind, column, parse_type

_SAME = [
    kind
    for kind in Kind
    if kind not in (Kind.BINARY, Kind.TIMESTAMP_NTZ, Kind.DECIMAL, Kind.ARRAY, Kind.MAP, Kind.STRUCT)
]


def _types() -> st.SearchStrategy[DataType]:
    plain = st.sampled_from(_SAME).map(DataType)
    decimals = st.integers(1, 38).flatmap(
        lambda p: st.integers(0, p).map(lambda s: DataType(Kind.DECIMAL, precision=p, scale=s))
    )
    return st.recursive(
        plain | decimals,
        lambda inner: st.one_of(
            inner.map(lambda t: DataType(Kind.ARRAY, fields=(Column("element", t),))),
            st.tuples(plain, inner).map(
                lambda kv: DataType(Kind.MAP, fields=(Column("key", kv[0]), Column("value", kv[1])))
            ),
            st.dictionaries(st.text(min_size=1, max_size=5), inner, min_size=1, max_size=3).map(
                lambda members: DataType(Kind.STRUCT, fields=tuple(Column(n, t) for n, t in members.items()))
            ),
        ),
        max_leaves=5,
    )


@given(_types())
def test_types_come_back_from_clickhouse(type_: DataType) -> None:
    assert layout.data_type(layout.clickhouse_type(type_)) == type_


@given(_types())
def test_types_come_back_as_clickhouse_prints_them(type_: DataType) -> None:
    printed = layout.clickhouse_type(type_).replace("Tuple(", "Tuple(\n    ")
    assert layout.data_type(printed) == type_


@pytest.mark.parametrize(
    ("clickhouse", "ours"),
    [
        ("LowCardinality(Nullable(String))", "string"),
        ("UInt64", "decimal(20,0)"),
        ("UInt8", "smallint"),
        ("DateTime", "timestamp"),
        ("DateTime('Europe/Berlin')", "timestamp"),
        ("Nullable(DateTime64(3))", "timestamp"),
        ("Date", "date"),
        ("Enum8('a,)' = 1, 'b' = 2)", "string"),
        ("FixedString(3)", "binary"),
        ("Tuple(Int8, String)", "struct<1:tinyint,2:string>"),
        ("Map(LowCardinality(String), Array(Nullable(Int32)))", "map<string,array<int>>"),
    ],
)
def test_types_that_others_have_made_are_read(clickhouse: str, ours: str) -> None:
    assert layout.data_type(clickhouse) == parse_type(ours)


@pytest.mark.parametrize("text", ["Dynamic", "AggregateFunction(sum, UInt8)", "Decimal(76, 3)", "Int256", "Array("])
def test_types_that_no_column_has_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="ClickHouse"):
        layout.data_type(text)


def test_a_type_that_clickhouse_does_not_tell_apart_is_noted_in_the_comment() -> None:
    made = layout.create_table(_place(), [column("raw", "array<binary>"), column("at", "timestamp_ntz")], _options())
    assert "`raw` Array(Nullable(String)) COMMENT 'array<binary>'" in made
    assert "`at` Nullable(DateTime64(6, 'UTC')) COMMENT 'timestamp_ntz'" in made
    assert layout.column_of("raw", "Array(Nullable(String))", "array<binary>") == column("raw", "array<binary>")
    assert layout.column_of("s", "Nullable(String)", "a person's note") == column("s", "string")


def test_the_table_of_a_version_is_made_like_this() -> None:
    columns = [
        column("day", "date"),
        column("path", "string"),
        column("ms", "decimal(10,3)"),
        column("at", "timestamp"),
    ]
    options = _options(
        order_by=("day", "path"),
        primary_key=("day",),
        partition_by="toYYYYMM(day)",
        ttl="at + INTERVAL 90 DAY",
        low_cardinality=("path",),
        codec={"at": "Delta, ZSTD(1)"},
        settings={"index_granularity": 4096, "storage_policy": "it's fast", "ttl_only_drop_parts": True},
    )
    assert layout.create_table(_place(), columns, options) == (
        "CREATE TABLE `shop`.`requests__v1` (\n"
        "    `day` Date32,\n"
        "    `path` LowCardinality(String),\n"
        "    `ms` Nullable(Decimal(10, 3)),\n"
        "    `at` DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1))\n"
        ")\n"
        "ENGINE = MergeTree\n"
        "PARTITION BY toYYYYMM(day)\n"
        "PRIMARY KEY (`day`)\n"
        "ORDER BY (`day`, `path`)\n"
        "SETTINGS index_granularity = 4096, storage_policy = 'it\\'s fast', ttl_only_drop_parts = 1\n"
        'COMMENT \'{"millrace": 1, "asset": "requests", "version": "v1", "sealed": false}\''
    )


def test_the_view_is_replaced_in_one_statement() -> None:
    assert layout.replace_view(_place(), "SELECT * FROM t", _place().marker(sealed=True)) == (
        "CREATE OR REPLACE VIEW `shop`.`requests`\n"
        "DEFINER = CURRENT_USER SQL SECURITY DEFINER\n"
        "AS SELECT * FROM t\n"
        'COMMENT \'{"millrace": 1, "asset": "requests", "version": "v1", "sealed": true}\''
    )


def test_columns_of_keys_hold_no_nulls_unless_the_table_allows_them() -> None:
    columns = [column(name, "bigint") for name in ("a", "b", "c", "d", "e")]
    options = _options(
        order_by=("a",), partition_by="intDiv(`b`, 10)", ttl="toDateTime(c)", engine="ReplacingMergeTree(d)"
    )
    assert layout.filled_columns(columns, options) == {"a", "b", "c", "d"}
    lenient = options.model_copy(update={"settings": {"allow_nullable_key": 1}})
    assert layout.filled_columns(columns, lenient) == {"c", "d"}


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"order_by": ("nope",)}, "order_by names the column 'nope', but there are id, tags"),
        ({"codec": {"nope": "ZSTD"}}, "codec names the column 'nope'"),
        ({"order_by": ("tags",)}, "order_by names 'tags', but a map can't be sorted by"),
        ({"low_cardinality": ("id",)}, "low_cardinality names 'id', but that is a bigint, not a string"),
    ],
)
def test_options_that_do_not_fit_the_columns_are_told(options: dict[str, object], problem: str) -> None:
    columns = [column("id", "bigint"), column("tags", "map<string,int>")]
    with pytest.raises(ValueError, match=problem):
        layout.check_columns(columns, ClickHouseOptions.model_validate({"connection": "c", **options}))


@given(st.text(min_size=1), st.text())
def test_markers_come_back_and_are_told_from_other_comments(asset: str, other: str) -> None:
    marker = Marker(asset, "v1", sealed=False, rows_id="v1")
    assert Marker.parse(marker.text()) == marker
    assert Marker.parse(other) is None


@pytest.mark.parametrize("comment", ["", "{}", "[]", "1", "null", '{"millrace": 2, "asset": "a", "version": "b"}'])
def test_comments_of_others_are_not_ours(comment: str) -> None:
    assert Marker.parse(comment) is None


def test_only_names_that_a_load_of_this_version_gives_are_its_staging() -> None:
    place = _place()
    assert place.is_staging(place.attempt("0a1f"))
    assert place.is_staging(place.part("12"))
    assert place.is_part(place.part("12"))
    assert not place.is_part(place.attempt("0a1f"))
    for name in ("requests__v1", "requests__v1x__p1", "requests__v1__p", "requests__v1__notes", "requests", "x"):
        assert not place.is_staging(name)


@given(st.text(min_size=1))
def test_identifiers_are_quoted_so_that_none_ends_early(name: str) -> None:
    inside = layout.quote(name)[1:-1]
    bare = inside.replace("\\\\", "").replace("\\`", "")
    assert "`" not in bare
    assert "\\" not in bare


def test_rows_are_looked_for_by_what_can_be_compared_exactly() -> None:
    columns = [column("f", "double"), column("a", "array<int>"), column("s", "string")]
    assert layout.comparable_columns(columns) == (columns[2],)
    assert layout.comparable_columns(columns[:2]) == (columns[0],)
    assert layout.comparable_columns(columns[1:2]) == ()


def _options(**options: object) -> ClickHouseOptions:
    return ClickHouseOptions.model_validate({"connection": "c", **options})


def _place() -> Place:
    return Place("shop", "requests", "requests", "v1")
