"""Planning and reading a topic as a run does, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from millrace.connectors.base import PlanRequest, SourcePlan, Window
from millrace.connectors.kafka.options import KafkaOptions
from millrace.connectors.kafka.source import KafkaSource
from millrace.spec.connection import parse_url
from tests.connectors.reads import Read, kept_plan, read_plan

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

WORDS = {"id": "bigint", "word": "string"}


def no_spark() -> NoReturn:
    raise AssertionError("a topic is planned without Spark")


def source(url: str, topic: str, **options: Any) -> KafkaSource:
    given = {"connection": "events", "topic": topic, **options}
    if not ({"schema", "schema_file"} & set(options)) and options.get("format") != "raw":
        given["schema"] = WORDS
    given = {name: value for name, value in given.items() if value is not None}
    return KafkaSource(KafkaOptions.model_validate(given), parse_url("events", url, "a test"))


def plan(
    of: KafkaSource, watermark: Mapping[str, Any] | None = None, window: Window | None = None, channels: int = 2
) -> SourcePlan:
    return kept_plan(of, PlanRequest(channels, window or Window(), watermark, no_spark))


def read(of: KafkaSource, spark: SparkSession, planned: SourcePlan | None = None) -> Read:
    return read_plan(of, spark, planned or plan(of))


def words(first: int, last: int) -> list[bytes]:
    """One JSON message for each number from `first` to `last`."""
    return [json.dumps({"id": i, "word": f"word {i}"}).encode() for i in range(first, last + 1)]
