"""The check step: a spec's checks asked of a stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from millrace.quality.expectations import Past, PlannedExpectation, to_expectations
from millrace.quality.loading import warm_up
from millrace.quality.names import PlainNames
from millrace.quality.queries import ask_queries
from millrace.quality.results import CheckResult
from millrace.quality.samples import MAX_ROWS, as_json
from millrace.spec.model import Check, JsonValue, Measure, Severity, SqlCheck
from millrace.spec.types import DataType, parse_type

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType

    from millrace.quality.duplicates import Proof
    from millrace.quality.gx.asking import Answer


REASON = "millrace_reason"


@dataclass(frozen=True)
class Judgement:
    """The results in the order of the checks, and what is to be set aside.

    `marked` has the frame's columns and REASON, a text: of each row that breaks a check whose severity is `quarantine`
    the first such check, null for the others. It is None when there is no such row.
    """

    results: tuple[CheckResult, ...]
    marked: DataFrame | None = None


def run_checks(
    frame: DataFrame, checks: Sequence[Check], *, previous_rows: int | None = None, rows: int | None = None
) -> tuple[CheckResult, ...]:
    """The results of `judge`."""
    return judge(frame, checks, Past(previous_rows), rows).results


def judge(
    frame: DataFrame, checks: Sequence[Check], past: Past, rows: int | None = None, proof: Proof | None = None
) -> Judgement:
    """Ask every check of the frame, which is read a few times: pass one that is cheap to read, such as Parquet.

    `rows` are those of `frame`, None to have them counted; `proof` is asked before keys are counted. One result for
    each query and expectation, in the order of the checks (see `to_expectations`). A check that can't be evaluated is a
    failed one with its `error`. Raises what Spark raises when it goes away or its jobs are cancelled, since nothing is
    known of the data then; ConfigError when Great Expectations is not installed.
    """
    types = column_types(frame.schema)
    queries = iter(ask_queries(frame, [check for check in checks if isinstance(check, SqlCheck)]))
    planned = to_expectations(checks, types, past)
    askable = [p for p in planned if p.problem is None]
    names = PlainNames.of(frame.columns)
    asked = frame.toDF(*names.columns(frame.columns)) if names.plain else frame
    answers = _ask(asked, names, askable, rows, None if names.plain else proof) if askable else []
    marked = _marked(asked, askable, answers)
    rest = iter(answers)
    judged = iter([_refused(p) if p.problem is not None else _result(p, next(rest), rows) for p in planned])
    results: list[CheckResult] = []
    for check in checks:
        by_query = isinstance(check, SqlCheck)
        results += [next(queries)] if by_query else [next(judged) for _ in to_expectations([check], types, past)]
    return Judgement(tuple(results), None if marked is None else marked.toDF(*frame.columns, REASON))


def _marked(asked: DataFrame, planned: Sequence[PlannedExpectation], answers: Sequence[Answer]) -> DataFrame | None:
    from pyspark.sql import functions as f

    reason = f.lit(None).cast("string")
    found = [(p.check, a.condition) for p, a in zip(planned, answers, strict=True) if a.condition is not None]
    for check, condition in reversed(found):
        reason = f.when(condition, f.lit(check)).otherwise(reason)
    return asked.withColumn(REASON, reason) if found else None


def column_types(schema: StructType) -> dict[str, DataType | None]:
    """The columns with their types; None for a type outside our vocabulary."""
    return {field.name: _type(field.dataType.simpleString()) for field in schema.fields}


def _type(text: str) -> DataType | None:
    try:
        return parse_type(text)
    except ValueError:
        return None


def _ask(
    asked: DataFrame,
    names: PlainNames,
    planned: Sequence[PlannedExpectation],
    rows: int | None,
    proof: Proof | None,
) -> list[Answer]:
    warm_up()
    from millrace.quality.gx.asking import Question, ask

    questions = [
        Question(p.type, names.arguments(p.arguments), told_apart=p.severity is Severity.QUARANTINE) for p in planned
    ]
    return [_named(answer, names) for answer in ask(asked, questions, rows, proof)]


def _named(answer: Answer, names: PlainNames) -> Answer:
    if not names.plain:
        return answer
    result = dict(answer.result)
    if "observed_value" in result:
        result["observed_value"] = names.in_value(result["observed_value"])
    if result.get("unexpected_rows"):
        result["unexpected_rows"] = [names.in_row(row) for row in result["unexpected_rows"]]
    return replace(answer, result=result, error=None if answer.error is None else names.in_text(answer.error))


def _refused(planned: PlannedExpectation) -> CheckResult:
    return CheckResult(
        planned.check, planned.type, planned.severity, False, expected=planned.expected, error=planned.problem
    )


def _result(planned: PlannedExpectation, answer: Answer, known_rows: int | None) -> CheckResult:
    result = answer.result
    if planned.measure is not None:
        return _measured(planned, answer, known_rows)
    count = result.get("unexpected_count")
    rows = result.get("element_count")
    return CheckResult(
        check=planned.check,
        expectation=planned.type,
        severity=planned.severity,
        passed=answer.success,
        observed=_observed(result, rows, count),
        expected=planned.expected,
        unexpected_count=count,
        unexpected_ratio=count / rows if rows and count is not None else None,
        samples=_samples(result),
        error=answer.error,
    )


def _measured(planned: PlannedExpectation, answer: Answer, rows: int | None) -> CheckResult:
    """Of a stage without values there is nothing to compare, and that passes."""
    value = as_json(answer.result.get("observed_value"))
    if rows == 0 and planned.measure != (Measure.ROW_COUNT, ""):
        value = None
    elif value is not None:
        value = 1 - value if planned.measure and planned.measure[0] == Measure.NULL_SHARE else float(value)
    return CheckResult(
        check=planned.check,
        expectation=planned.type,
        severity=planned.severity,
        passed=answer.success or (value is None and answer.error is None),
        observed=int(value) if isinstance(value, float) and value.is_integer() else value,
        expected=planned.expected,
        error=answer.error,
        measure=planned.measure,
    )


def _observed(result: Mapping[str, Any], rows: int | None, count: int | None) -> JsonValue:
    if "observed_value" in result:
        return as_json(result["observed_value"])
    return None if rows is None else {"rows": rows, "unexpected": count or 0}


def _samples(result: Mapping[str, Any]) -> tuple[Mapping[str, JsonValue], ...]:
    return tuple(as_json(row) for row in (result.get("unexpected_rows") or ())[:MAX_ROWS])
