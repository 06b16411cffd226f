"""Planning and reading a topic as a run does, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

from millrace.connectors.base import DirtyRow, PlanRequest, SourcePlan, Window
from millrace.connectors.kafka.options import KafkaOptions
from millrace.connectors.kafka.source import KafkaSource
from millrace.jobs.gate import GateServer, StepLimits
from millrace.jobs.spark_errors import translate
from millrace.spec.connection import parse_url

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

WORDS = {"id": "bigint", "word": "string"}


@dataclass(frozen=True)
class Read:
    rows: list[dict[str, Any]]
    dirty: list[DirtyRow]
    counted: int

    @property
    def ids(self) -> list[int]:
        return sorted(row["id"] for row in self.rows)

    @property
    def dirty_origins(self) -> list[str]:
        return sorted(d.origin for d in self.dirty)


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
    found = of.plan(PlanRequest(channels, window or Window(), watermark, no_spark))
    parts = json.loads(json.dumps([found.splits, found.details, found.watermark]))  # as the catalog keeps it
    return replace(found, splits=tuple(parts[0]), details=parts[1], watermark=parts[2])


def read(of: KafkaSource, spark: SparkSession, planned: SourcePlan | None = None) -> Read:
    planned = planned or plan(of)
    with GateServer() as gate:
        client = gate.open_step("read", StepLimits())
        found = of.read(spark, planned, client)
        assert found.gated
        assert [(f.name, f.dataType.simpleString()) for f in found.frame.schema.fields] == [
            (c.name, str(c.type)) for c in planned.columns
        ]
        try:
            rows = [row.asDict(recursive=True) for row in found.frame.collect()]
        except Exception as error:
            raise translate(error, "reading") from error
        count = gate.count("read")
        return Read(rows, sorted(gate.dirty_rows("read"), key=lambda d: d.origin), count.rows)


def words(first: int, last: int) -> list[bytes]:
    """One JSON message for each number from `first` to `last`."""
    return [json.dumps({"id": i, "word": f"word {i}"}).encode() for i in range(first, last + 1)]
