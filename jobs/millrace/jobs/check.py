"""The step `check`: Great Expectations over the stage, results kept, and the version that the run may now load."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from millrace import catalog as kept
from millrace.catalog import Change, VersionRecord
from millrace.errors import CheckFailed, SpecError
from millrace.jobs import docs, quarantine, superseded
from millrace.jobs.context import RunContext, Stats
from millrace.jobs.judging import SOURCE, judge_run
from millrace.jobs.lines import stored_columns
from millrace.jobs.plan import columns_of
from millrace.jobs.quarantine import Aside
from millrace.jobs.spark_errors import translate
from millrace.jobs.staged import staged_frame
from millrace.jobs.superseded import Merged
from millrace.spec import Spec
from millrace.spec.model import Expectation, Severity
from millrace.spec.types import Column

if TYPE_CHECKING:
    from millrace.quality import CheckResult


def check(context: RunContext) -> Stats:
    """Run the spec's checks on the stage. Raises CheckFailed with what failed, observed and expected, and sample rows.

    Rows that a check sets aside are taken out first, and the other checks are asked of the rest. When none blocks, the
    run's version is created, in state `loading`.
    """
    frame = staged_frame(context, context.file("stage"))
    context.catalog.dirty.clear(context.run_id, quarantine.STEP)
    results, aside = _results(context) if context.spec.checks else ((), Aside(0))
    records = [_record(result) for result in results]
    context.catalog.checks.record(context.run_id, records)
    docs.write(context, records)
    context.storage.delete(context.file(SOURCE))  # it may hold what the transform masks
    _tell_warnings(context, results)
    blocking = [result for result in results if result.blocks]
    if blocking or aside.verdict:
        raise CheckFailed(_refusal(context, results, aside.verdict), hint=_hint(context))
    merged = superseded.keep_keys(context, context.file(quarantine.CHECKED if aside.rows else quarantine.STAGE))
    version = _new_version(context, columns_of(frame.schema), merged)
    warned = sum(not r.passed for r in results)
    counts = {"checks": len(results), "passed": len(results) - warned, "warned": warned, "version": version.id}
    return {**counts, **({"quarantined": aside.rows} if aside.rows else {}), **merged.stats()}


def _new_version(context: RunContext, columns: Sequence[Column], merged: Merged) -> VersionRecord:
    plan = context.plan()
    return context.catalog.versions.create(
        context.run_id,
        stored_columns(context.spec.asset, columns, plan.deletes),
        {t.name: {"connector": t.connector, "options": t.options} for t in plan.targets},
        context.file("stage"),
        Change(
            mode=plan.mode,
            rows_id=plan.line,
            window_start=plan.window.start,
            window_end=plan.window.end,
            deletes=plan.deletes,
            by_interval=plan.by_interval,
            latest_by=plan.latest_by,
            newest=merged.newest,
        ),
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


def _results(context: RunContext) -> tuple[tuple[CheckResult, ...], Aside]:
    try:
        return judge_run(context)
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
        error=result.error,
    )


def _tell_warnings(context: RunContext, results: Sequence[CheckResult]) -> None:
    """What failed and refuses nothing: nobody else would say it where the run is watched."""
    warned = [result for result in results if not result.passed and result.severity is Severity.WARN]
    if warned:
        from millrace.quality import explain

        for result in warned:
            context.observer.note(explain(result))


def _refusal(context: RunContext, results: Sequence[CheckResult], verdict: str | None) -> str:
    from millrace.quality import explain

    refused = [r for r in results if r.blocks or (verdict and not r.passed and r.severity is Severity.QUARANTINE)]
    lines = "\n    ".join([*([verdict] if verdict else []), *(explain(result) for result in refused)])
    return f"{len(refused)} of {len(results)} checks refused the data of {context.spec.asset}:\n    {lines}"


def _hint(context: RunContext) -> str:
    current = context.catalog.versions.current(context.spec.asset)
    served = f"readers still have version {current.id}" if current else "nothing is published yet"
    return f"{served}; mend the source or the check, then run again"
