"""What Spark has measured of its last query, where rows don't pass a task of ours."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def waited_s(spark: SparkSession, names: Collection[str]) -> float:
    """Seconds that the tasks of the last query spent in these metrics, all tasks together; 0 when it has none."""
    if not names:
        return 0.0
    state: Any = spark._jsparkSession.sharedState()
    store = state.statusStore()
    executions = store.executionsList()
    if not executions.size():
        return 0.0
    last = executions.apply(executions.size() - 1)
    values = store.executionMetrics(last.executionId())
    metrics = [last.metrics().apply(number) for number in range(last.metrics().size())]
    found = [values.get(m.accumulatorId()) for m in metrics if m.name() in names]
    return sum(parse_duration(value.get()) for value in found if value.isDefined())


def parse_duration(text: str) -> float:
    """Seconds of a metric as Spark writes it: "43 ms", or "total (min, …)\\n1.5 s (52 ms, …)"."""
    found = re.match(r"([0-9.]+) (ms|s|m|h)\b", text.rsplit("\n", maxsplit=1)[-1])
    return float(found.group(1)) * _SECONDS[found.group(2)] if found else 0.0
