"""What the tests of all sources share: a plan as a retry gets it, and a read of it as a run does it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from millrace.connectors.base import DirtyRow, PlanRequest, Source, SourcePlan
from millrace.jobs.gate import GateServer, StepLimits
from millrace.jobs.spark_errors import translate

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True)
class Read:
    """The rows that came, the records set aside in order of their origin, and what the gate counted."""

    rows: Sequence[Mapping[str, Any]]
    dirty: Sequence[DirtyRow]
    counted: int
    size: int

    @property
    def ids(self) -> list[int]:
        return sorted(row["id"] for row in self.rows)

    @property
    def dirty_origins(self) -> list[str]:
        return sorted(record.origin for record in self.dirty)


def kept_plan(of: Source, request: PlanRequest) -> SourcePlan:
    """A plan as the catalog gives it back: it keeps JSON."""
    found = of.plan(request)
    splits, details, watermark = json.loads(json.dumps([found.splits, found.details, found.watermark]))
    return replace(found, splits=tuple(splits), details=details, watermark=watermark)


def read_plan(of: Source, spark: SparkSession, plan: SourcePlan) -> Read:
    """Read a plan in Spark; its columns are those that were planned. Raises what a run would."""
    with GateServer() as gate:
        found = of.read(spark, plan, gate.open_step("read", StepLimits()))
        types = [(field.name, field.dataType.simpleString()) for field in found.frame.schema.fields]
        assert types == [(column.name, str(column.type)) for column in plan.columns]
        try:
            rows = [row.asDict(recursive=True) for row in found.frame.collect()]
        except Exception as error:
            raise translate(error, "reading") from error
        count = gate.count("read")
        return Read(rows, sorted(gate.dirty_rows("read"), key=lambda d: d.origin), count.rows, count.size)
