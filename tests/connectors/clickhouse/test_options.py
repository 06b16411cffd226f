"""What a spec may say of a ClickHouse target."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from millrace.connectors.clickhouse.options import ClickHouseOptions, file_name


def options(**given: object) -> ClickHouseOptions:
    return ClickHouseOptions.model_validate({"connection": "clickhouse_main", **given})


def test_a_connection_is_enough() -> None:
    found = options()
    assert (found.engine, found.order_by, found.table_of("users")) == ("MergeTree", (), "users")
    assert options(table="people").table_of("users") == "people"


@pytest.mark.parametrize(
    "engine",
    [
        "MergeTree",
        "ReplacingMergeTree(updated_at)",
        "ReplicatedMergeTree('/x/{shard}', '{replica}')",
        "SharedMergeTree",
    ],
)
def test_engines_that_keep_rows_are_taken(engine: str) -> None:
    assert options(engine=engine).engine == engine


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"engine": "SummingMergeTree"}, "can't be verified against what was loaded"),
        ({"engine": "Memory"}, "unknown engine 'Memory'"),
        ({"engine": "MergeTree; DROP TABLE x"}, "unknown engine"),
        ({"primary_key": ["b"], "order_by": ["a", "b"]}, r"primary_key \['b'\] is not the beginning of order_by"),
        ({"primary_key": ["a", "b"], "order_by": ["a"]}, "is not the beginning"),
        ({"table": " "}, "the table's name is empty"),
        ({"table": "a\nb"}, "control characters"),
        ({"table": "ü" * 30}, "longer than 150 bytes"),
        ({"settings": {"a = 1, b": 2}}, "'a = 1, b' is not the name of a setting"),
        ({"orderby": ["a"]}, "orderby"),
    ],
)
def test_what_can_not_be_meant_is_refused(given: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        options(**given)


def test_columns_that_options_name_are_told() -> None:
    found = options(order_by=["a", "b"], primary_key=["a"], codec={"c": "ZSTD"}, low_cardinality=["d"])
    assert found.referenced_columns() == {
        "order_by": ("a", "b"),
        "primary_key": ("a",),
        "codec": ("c",),
        "low_cardinality": ("d",),
        "interval": (),
    }
    assert options(order_by=["a"], interval="day").referenced_columns()["interval"] == ("day",)


def test_names_take_room_in_file_names_as_clickhouse_escapes_them() -> None:
    assert file_name("users_1") == "users_1"
    assert file_name("é-x") == "%C3%A9%2Dx"
