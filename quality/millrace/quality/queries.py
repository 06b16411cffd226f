"""Checks by a query of one's own, which must give no rows: asked of Spark, by the names that a spec may use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from millrace.quality.loading import warm_up
from millrace.quality.results import CheckResult
from millrace.quality.samples import MAX_ROWS, row_as_json, shortened
from millrace.quality.wording import check_text
from millrace.spec.model import SqlCheck
from millrace.spec.sql import INPUT

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def ask_queries(frame: DataFrame, checks: Sequence[SqlCheck]) -> list[CheckResult]:
    """One result a check. Raises what Spark raises when it goes away."""
    return [_ask(frame, check) for check in checks]


def _ask(frame: DataFrame, check: SqlCheck) -> CheckResult:
    warm_up()
    from millrace.quality.gx.asking import plain
    from millrace.quality.lost import is_lost

    for view in (check.on.value, INPUT):
        frame.createOrReplaceTempView(view)
    try:
        found = frame.sparkSession.sql(check.query)
        rows = found.count()
        samples = _rows(found) if rows else ()
    except Exception as error:  # of any kind: the query is the user's, and the result shows what is wrong with it
        if is_lost(error):
            raise
        return _result(check, passed=False, error=plain(str(error)))
    return _result(check, passed=rows == 0, observed=rows, unexpected_count=rows, samples=samples)


def _rows(found: DataFrame) -> tuple[Mapping[str, Any], ...]:
    sample = found.limit(MAX_ROWS).select(*shortened(found.schema))
    return tuple(row_as_json(row, sample.schema) for row in sample.collect())


def _result(check: SqlCheck, **values: Any) -> CheckResult:
    text = check_text("sql", check.name)
    return CheckResult(text, "sql", check.severity, expected="no rows", **values)
