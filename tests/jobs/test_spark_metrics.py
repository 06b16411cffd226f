"""Durations as Spark writes them."""

from __future__ import annotations

import pytest

from millrace.jobs.spark_metrics import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("43 ms", 0.043),
        ("total (min, med, max (stageId: taskId))\n1.5 s (52 ms, 233 ms, 360 ms (stage 0.0: task 1))", 1.5),
        ("total (min, med, max (stageId: taskId))\n2.0 m (1 s, 2 s, 3 s (stage 0.0: task 1))", 120.0),
        ("something else", 0.0),
    ],
)
def test_a_metric_is_read_as_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)
