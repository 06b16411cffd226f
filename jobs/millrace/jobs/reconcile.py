"""The stage against its source: what the run's own plan comes to when the source is asked once more.

A source that counts and sums by itself is asked to, where the transform leaves the rows and those columns as they are.
Otherwise the plan is read again, sent through the transform and compared: numbers of rows and sums in one pass, and of
the rows those whose hash falls into a share that gives about as many as the sample asks for, on both sides the same.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from millrace.errors import SourceError
from millrace.jobs.columns import named
from millrace.jobs.context import RunContext
from millrace.jobs.gate import StepLimits
from millrace.jobs.quarantine import STAGE
from millrace.jobs.spark_errors import translate
from millrace.jobs.staged import staged_frame
from millrace.jobs.transform import new_observation, transform
from millrace.spec.connector import connectors
from millrace.spec.model import Cast, Derive, Mask, Reconcile, Select, Step
from millrace.spec.types import Kind, parse_type

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from millrace.quality import CheckResult

_SHOWN = 20
_FLOATING = frozenset({Kind.FLOAT, Kind.DOUBLE})
_ROUNDING = 1e-9
_STEP = "reconcile"

Sum = Decimal | float | None


@dataclass(frozen=True)
class Side:
    """One side: rows, sums by column, and of the sampled rows how often each (as JSON) is there."""

    rows: int
    sums: Mapping[str, Sum]
    sample: Counter[str]


def reconcile(context: RunContext) -> list[CheckResult]:
    """The results of the spec's reconciliations. A source that hasn't the rows any more fails them, and says why.

    Raises what may pass: TransientError, and what Spark raises when it goes away.
    """
    checks = [check for check in context.spec.checks if isinstance(check, Reconcile)]
    return [result for check in checks for result in _reconciled(context, check)]


def leaves_alone(steps: Sequence[Step], columns: Sequence[str]) -> bool:
    """Whether a transform keeps every row, and these columns as they are."""
    return all(_leaves(step, set(columns)) for step in steps)


def _leaves(step: Step, columns: set[str]) -> bool:
    match step:
        case Select():
            return True
        case Derive() | Cast():
            lowered = {name.lower() for name in columns}
            return not any(name.lower() in lowered for name in step.columns)
        case Mask():
            return not columns & set(step.columns)
        case _:
            return False


def _reconciled(context: RunContext, check: Reconcile) -> list[CheckResult]:
    rows = int(context.step_stats("stage")["rows_staged"])
    share = max(1, rows // check.sample) if check.sample else None
    staged = _side(staged_frame(context, context.file(STAGE)), check.sums, share)
    try:
        source = _of_source(context, check, share)
    except Exception as error:
        known = translate(error, f"reading the source of {context.spec.asset} once more")
        if not isinstance(known, SourceError):
            raise
        return [_result(check, what, False, None, "as in the source", error=known.message) for what in _parts(check)]
    return list(_results(check, staged, source))


def _of_source(context: RunContext, check: Reconcile, share: int | None) -> Side:
    stats = context.step_stats("stage")
    role = connectors()[context.spec.source.connector].source
    whole = not int(stats["rows_dirty"]) and leaves_alone(context.spec.transform, check.sums)
    if role is not None and role.totals and whole and share is None:
        found = context.source().totals(context.plan().source, check.sums)
        return Side(found.rows, found.sums, Counter())
    return _side(_read_again(context), check.sums, share)


def _read_again(context: RunContext) -> DataFrame:
    from millrace.jobs.stage import paced

    limits = context.spec.limits
    gate = context.gate.open_step(_STEP, StepLimits(limits.rows_per_second, limits.bytes_per_second))
    read = context.source().read(context.spark(), context.plan().source, gate)
    return transform(paced(context, read, gate), context.spec.transform, gate).frame


def _side(frame: DataFrame, sums: Sequence[str], share: int | None) -> Side:
    """In one pass over the frame."""
    from pyspark.sql import functions as f

    seen = new_observation(_STEP)
    totals = [_sum(frame, name).alias(f"sum{i}") for i, name in enumerate(sums)]
    observed = frame.observe(seen, f.count(f.lit(1)).alias("rows"), *totals)
    sample: Counter[str] = Counter()
    if share is None:
        observed.write.format("noop").mode("overwrite").save()
    else:
        mine = observed.filter(f.pmod(_hash(frame), f.lit(share)) == 0)
        row = f.to_json(f.struct(*[named(name) for name in frame.columns]), {"ignoreNullFields": "false"})
        sample.update(found[0] for found in mine.select(row).collect())  # by parts, it would observe one part
    return Side(int(seen.get["rows"]), {name: seen.get[f"sum{i}"] for i, name in enumerate(sums)}, sample)


def _sum(frame: DataFrame, name: str) -> Column:
    from pyspark.sql import functions as f

    type_ = parse_type(frame.schema[name].dataType.simpleString())
    wide = "double" if type_.kind in _FLOATING else f"decimal(38,{type_.scale if type_.kind is Kind.DECIMAL else 0})"
    return f.sum(named(name).cast(wide))


def _hash(frame: DataFrame) -> Column:
    """Of the whole row; maps have no hash of their own."""
    from pyspark.sql import functions as f

    parts = [
        f.to_json(f.struct(named(field.name))) if "map<" in field.dataType.simpleString() else named(field.name)
        for field in frame.schema.fields
    ]
    return f.xxhash64(*parts)


def _parts(check: Reconcile) -> list[str]:
    """What is held against the source, each in the spec's words."""
    rows = [] if check.rows is None else [_rows(check.rows)]
    sample = [] if check.sample is None else [f"sample: {check.sample}"]
    return [*rows, *(f"sum: {name}" for name in check.sums), *sample]


def _rows(tolerance: float) -> str:
    return f"rows: {tolerance:.10g}" if tolerance else "rows: exact"


def _results(check: Reconcile, staged: Side, source: Side) -> Sequence[CheckResult]:
    results = []
    if check.rows is not None:
        near = abs(staged.rows - source.rows) <= check.rows * source.rows
        expected = f"{source.rows:,} rows as in the source" + (f", within {check.rows:.2%}" if check.rows else "")
        results.append(_result(check, _rows(check.rows), near, staged.rows, expected))
    for name in check.sums:
        mine, other = staged.sums[name], source.sums[name]
        equal = _equal(mine, other)
        results.append(_result(check, f"sum: {name}", equal, _shown(mine), f"{_shown(other)} as in the source"))
    if check.sample is not None:
        results.append(_sampled(check, staged.sample, source.sample))
    return results


def _sampled(check: Reconcile, staged: Counter[str], source: Counter[str]) -> CheckResult:
    only_staged, only_source = staged - source, source - staged
    found = {"rows": staged.total(), "only staged": only_staged.total(), "only in the source": only_source.total()}
    rows = [
        {"only in": side, **json.loads(row)}
        for pair in zip(_padded(only_staged), _padded(only_source), strict=False)
        for side, row in zip(("stage", "source"), pair, strict=True)
        if row is not None
    ]
    expected = "the same rows on both sides"
    return _result(
        check, f"sample: {check.sample}", not only_staged and not only_source, found, expected, rows[:_SHOWN]
    )


def _padded(rows: Counter[str]) -> list[str | None]:
    """In an order of their own, so that the two forms of a changed row stand near each other."""
    found: list[str | None] = [*sorted(rows.elements())]
    return found[:_SHOWN] + [None] * (_SHOWN - len(found))


def _equal(one: Sum, other: Sum) -> bool:
    if one is None or other is None:
        return one is None and other is None
    if isinstance(one, float) or isinstance(other, float):
        return math.isclose(float(one), float(other), rel_tol=_ROUNDING) or (math.isnan(one) and math.isnan(other))
    return one == other


def _shown(value: Sum) -> str:
    return "no value" if value is None else f"{value:f}" if isinstance(value, Decimal) else f"{value!r}"


def _result(
    check: Reconcile,
    what: str,
    passed: bool,
    observed: Any,
    expected: str,
    samples: Sequence[Mapping[str, Any]] = (),
    error: str | None = None,
) -> CheckResult:
    from millrace.quality import CheckResult
    from millrace.quality.samples import as_json

    return CheckResult(
        check=f"reconcile: {{{what}}}",
        expectation="reconcile",
        severity=check.severity,
        passed=passed,
        observed=observed,
        expected=expected,
        samples=tuple(as_json(row) for row in samples),
        error=error,
    )
