"""What a run's checks are asked of: its stage, what was read from its source, and what earlier versions were like.

WORK_DIR/<asset>/<run id>/source/*.parquet    the rows as they were read; only for checks on the source, until they end
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from millrace.jobs import quarantine
from millrace.jobs.context import RunContext
from millrace.jobs.distinct import values_if_all_differ
from millrace.jobs.quarantine import Aside
from millrace.jobs.staged import staged_frame
from millrace.spec import Spec
from millrace.spec.model import Check, Mask, Severity, Subject

if TYPE_CHECKING:
    from millrace.quality import CheckResult, Past
    from millrace.quality.duplicates import Proof

SOURCE = "source"
_HIDDEN = "what is wrong is not shown, because it may quote a value that the transform masks"


def source_checks(spec: Spec) -> list[Check]:
    """The checks that look at the rows before the transform."""
    return [check for check in spec.checks if check.on is Subject.SOURCE]


def judge_run(context: RunContext) -> tuple[tuple[CheckResult, ...], Aside]:
    """The results of all checks, those of the source first and reconciliations last, and what was set aside.

    When a check sets rows aside, the others are asked once more of the rows that are left.
    """
    from millrace.jobs.reconcile import reconcile  # it brings Spark, which the step `plan` must not

    past = _past(context)
    before = _of_source(context, source_checks(context.spec), past)
    results, aside = _of_stage(context, [c for c in context.spec.checks if c.on is Subject.STAGE], past)
    _keep_measures(context, results)
    return (*before, *results, *reconcile(context)), aside


def _past(context: RunContext) -> Past:
    from millrace.quality import Past

    catalog, asset = context.catalog, context.spec.asset
    current, end = catalog.versions.current(asset), context.plan().window.end
    now = datetime.now(UTC)
    return Past(
        rows=current.rows if current else None,
        measures=lambda measure, column, versions: catalog.measures.published(asset, measure, column, versions),
        now=now if end is None else min(now, end),
    )


def _of_source(context: RunContext, checks: Sequence[Check], past: Past) -> tuple[CheckResult, ...]:
    """Their samples are whole rows from before the transform, so none are kept where it masks something."""
    from millrace.quality import judge

    if not checks:
        return ()
    results = judge(context.spark().read.parquet(context.file(SOURCE)), checks, past).results
    masks = any(isinstance(step, Mask) for step in context.spec.transform)
    return tuple(
        replace(r, check=f"{r.check} (on source)", samples=() if masks else r.samples, error=_safe(r.error, masks))
        for r in results
    )


def _safe(error: str | None, masks: bool) -> str | None:
    return _HIDDEN if error is not None and masks else error


def _of_stage(context: RunContext, checks: Sequence[Check], past: Past) -> tuple[tuple[CheckResult, ...], Aside]:
    from millrace.quality import judge

    if not checks:
        return (), Aside(0)
    staged = int(context.step_stats("stage")["rows_staged"])
    judged = judge(staged_frame(context, context.file("stage")), checks, past, staged, _proof(context, "stage"))
    if judged.marked is None or any(r.blocks and r.severity is Severity.QUARANTINE for r in judged.results):
        return judged.results, Aside(0)
    aside = quarantine.set_aside(context, judged.marked)
    others = [check for check in checks if check.severity is not Severity.QUARANTINE]
    if aside.verdict or not others:
        return judged.results, aside
    rest = staged_frame(context, context.file(quarantine.CHECKED))
    proof = _proof(context, quarantine.CHECKED)
    again = iter(judge(rest, others, past, staged - aside.rows, proof).results)
    return tuple(r if r.severity is Severity.QUARANTINE else next(again) for r in judged.results), aside


def _proof(context: RunContext, folder: str) -> Proof | None:
    """Where this process sees the files, it can look at them itself."""
    files = context.storage.local_files(context.file(folder))
    return partial(values_if_all_differ, files) if files else None


def _keep_measures(context: RunContext, results: Sequence[CheckResult]) -> None:
    values = {r.measure: float(r.observed) for r in results if r.measure is not None and r.observed is not None}
    if values:
        context.catalog.measures.record(context.run_id, values)
