"""The step `check`: Great Expectations over the stage, results kept, and the version that the run may now load."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from millrace import catalog as kept
from millrace.catalog import Change, VersionRecord
from millrace.errors import CheckFailed, SpecError
from millrace.jobs.context import RunContext, Stats
from millrace.jobs.lines import stored_columns
from millrace.jobs.plan import columns_of
from millrace.jobs.spark_errors import translate
from millrace.spec import Spec
from millrace.spec.model import Expectation
from millrace.spec.types import Column

if TYPE_CHECKING:
    from millrace.quality import CheckResult


def check(context: RunContext) -> Stats:
    """Run the spec's checks on the stage. Raises CheckFailed with what failed, observed and expected, and sample rows.

    When none blocks, the run's version is created, in state `loading`.
    """
    frame = context.spark().read.parquet(context.file("stage"))
    results = _results(context) if context.spec.checks else ()
    context.catalog.checks.record(context.run_id, [_record(result) for result in results])
    blocking = [r for r in results if not r.passed and r.severity == "block"]
    if blocking:
        raise CheckFailed(_refusal(context, blocking, len(results)), hint=_hint(context))
    version = _new_version(context, columns_of(frame.schema))
    warned = sum(not r.passed for r in results)
    return {"checks": len(results), "passed": len(results) - warned, "warned": warned, "version": version.id}


def _new_version(context: RunContext, columns: Sequence[Column]) -> VersionRecord:
    plan = context.plan()
    return context.catalog.versions.create(
        context.run_id,
        stored_columns(context.spec.asset, columns, plan.deletes),
        {t.name: {"connector": t.connector, "options": t.options} for t in plan.targets},
        context.file("stage"),
        Change(plan.mode, plan.line, plan.window.start, plan.window.end, plan.deletes),
    )


def refuse_bad_arguments(spec: Spec) -> None:
    """Raise SpecError for arguments that Great Expectations would not take. Imports it when a check names it."""
    if not any(isinstance(check, Expectation) for check in spec.checks):
        return
    from millrace.quality import validate_arguments

    wrong = [
        f"{spec.path}: checks[{number}]: {problem.message}"
        for number, check in enumerate(spec.checks)
        for problem in validate_arguments(check)
    ]
    if wrong:
        raise SpecError("\n".join(wrong), hint="docs/checks.md says which arguments there are")


def _results(context: RunContext) -> tuple[CheckResult, ...]:
    from millrace.quality import run_checks

    current = context.catalog.versions.current(context.spec.asset)
    try:
        return run_checks(
            context.spark().read.parquet(context.file("stage")),
            context.spec.checks,
            previous_rows=current.rows if current else None,
            rows=int(context.step_stats("stage")["rows_staged"]),
        )
    except Exception as error:
        raise translate(error, f"checking {context.spec.asset}") from error


def _record(result: CheckResult) -> kept.CheckResult:
    return kept.CheckResult(
        kind=result.check.split(":", 1)[0],
        description=result.check,
        severity=result.severity,
        passed=result.passed,
        observed=result.observed,
        expected=result.expected,
        sample=result.samples,
    )


def _refusal(context: RunContext, blocking: list[CheckResult], total: int) -> str:
    from millrace.quality import explain

    lines = "\n    ".join(explain(result) for result in blocking)
    return f"{len(blocking)} of {total} checks refused the data of {context.spec.asset}:\n    {lines}"


def _hint(context: RunContext) -> str:
    current = context.catalog.versions.current(context.spec.asset)
    served = f"readers still have version {current.id}" if current else "nothing is published yet"
    return f"{served}; mend the source or the check, then run again"
