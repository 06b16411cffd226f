"""The options of connectors that a spec may name already, though this release can't run them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from millrace.connectors.druid.options import DruidOptions
from millrace.connectors.hbase.options import HBaseOptions
from millrace.connectors.kafka.options import KafkaOptions
from millrace.connectors.lake import LakeOptions
from millrace.spec.connector import Options
from millrace.spec.types import Column, column


def test_kafka_yields_its_schema_and_what_else_is_asked_of_a_message() -> None:
    options = KafkaOptions.model_validate(
        {
            "connection": "c",
            "topic": "plays",
            "schema": {"id": "bigint", "at": "timestamp"},
            "metadata": ["offset", "key"],
        }
    )
    assert options.known_columns() == [
        column("id", "bigint"),
        column("at", "timestamp"),
        column("_offset", "bigint"),
        column("_key", "binary"),
    ]


def test_kafka_without_a_schema_is_known_only_when_it_is_read() -> None:
    assert KafkaOptions(connection="c", topic="t").known_columns() is None
    raw = KafkaOptions.model_validate({"connection": "c", "topic": "t", "format": "raw"})
    assert raw.known_columns() == [column("value", "binary")]


def test_a_lake_yields_the_columns_that_are_asked_for_or_its_schema_and_partitions() -> None:
    assert LakeOptions(path="x").known_columns() is None
    assert LakeOptions(path="x", columns=("a", "b")).known_columns() == ["a", "b"]
    csv = {"path": "x", "format": "csv", "schema": {"a": "int"}, "partitions": {"dt": "{{ ds }}"}}
    assert LakeOptions.model_validate(csv).known_columns() == [Column("a", column("a", "int").type), "dt"]
    assert LakeOptions.model_validate({**csv, "columns": ["dt", "a"]}).known_columns() == ["dt", column("a", "int")]


def test_hbase_refers_to_its_row_key_and_its_families_columns() -> None:
    options = HBaseOptions(
        connection="c", table="ns:t", row_key="{country}:{id}:{id}", families={"p": ("name",), "s": ("plays", "at")}
    )
    assert options.referenced_columns() == {
        "row_key": ("country", "id"),
        "families.p": ("name",),
        "families.s": ("plays", "at"),
    }


def test_druid_refers_to_its_time_its_dimensions_and_its_metrics_columns() -> None:
    options = DruidOptions.model_validate(
        {
            "connection": "c",
            "timestamp": "at",
            "dimensions": ["song"],
            "metrics": {"n": {"kind": "count"}, "s": {"kind": "sum", "column": "seconds"}},
        }
    )
    assert options.referenced_columns() == {
        "timestamp": ["at"],
        "dimensions": ("song",),
        "multi_value": (),
        "partition_by": (),
        "metrics.s.column": ["seconds"],
    }


@pytest.mark.parametrize(
    ("options", "values", "message"),
    [
        (KafkaOptions, {"format": "avro"}, "format: avro needs 'schema_file'"),
        (KafkaOptions, {"format": "protobuf", "schema_file": "x"}, "needs 'message'"),
        (KafkaOptions, {"format": "csv"}, "format: csv needs 'schema'"),
        (KafkaOptions, {"format": "raw", "schema": {"a": "int"}}, "takes no 'schema'"),
        (KafkaOptions, {"topic": "a b"}, "String should match"),
        (LakeOptions, {"format": "csv"}, "format: csv needs 'schema'"),
        (LakeOptions, {"schema": {"a": "int"}}, "format: parquet takes no 'schema'"),
        (LakeOptions, {"format": "csv", "schema": {"a": "int"}, "columns": ["b"]}, "'b' in 'columns' is neither in"),
        (HBaseOptions, {"family": None}, "either 'family'"),
        (HBaseOptions, {"families": {"a": ["b"]}}, "either 'family'"),
        (HBaseOptions, {"row_key": "constant"}, "it names no column"),
        (HBaseOptions, {"row_key": "{a"}, "a plain brace is written twice"),
        (HBaseOptions, {"row_key": "{a!r}"}, "expected column names in braces"),
        (HBaseOptions, {"table": "a b"}, "String should match"),
        (DruidOptions, {"metrics": {"n": {"kind": "sum"}}}, "a metric has a 'column'"),
        (DruidOptions, {"metrics": {"n": {"kind": "count", "column": "a"}}}, "a metric has a 'column'"),
    ],
)
def test_options_that_dont_fit_each_other_are_refused(options: type[Options], values: Any, message: str) -> None:
    required: dict[type[Options], dict[str, Any]] = {
        KafkaOptions: {"connection": "c", "topic": "t"},
        LakeOptions: {"path": "p"},
        HBaseOptions: {"connection": "c", "table": "t", "row_key": "{id}", "family": "f"},
        DruidOptions: {"connection": "c", "timestamp": "at"},
    }
    with pytest.raises(ValidationError, match=r"(?s).*" + message.replace("(", r"\(")):
        options.model_validate({**required[options], **values})
