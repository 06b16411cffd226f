"""The process of one step, `python -m millrace.dags.step REQUEST OUTCOME`: asks the engine to do it.

What it says on the way are its lines of output, which are the task's log; how it went stands in OUTCOME, also when it
failed. SIGTERM stops the step and its Spark jobs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from millrace import errors
from millrace.catalog import Catalog, RunRecord, RunState
from millrace.connectors.base import Window
from millrace.dags.lines import Lines
from millrace.dags.request import StepFailure, StepOutcome, StepRequest
from millrace.errors import Cancelled, MillraceError, RunConflict, RunFailed, TransientError
from millrace.jobs.request import RunRequest
from millrace.jobs.steps import begin, do_step, give_up
from millrace.spec import load_spec, parse_spec
from millrace.spec.connection import EMBEDDED, resolve
from millrace.spec.connector import Options
from millrace.spec.settings import Settings

_WAIT_S = 60.0  # for another run of the asset, such as a backfill beside the schedule; then Airflow tries again
PLAN, PUBLISH, RETIRE = "plan", "publish", "retire"


def main() -> int:
    request = StepRequest.from_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    answer = Path(sys.argv[2])
    outcome = do(request, Settings.from_env(), answer)
    _write(answer, outcome)
    return 0 if outcome.error is None else 1


def do(request: StepRequest, settings: Settings, answer: Path | None = None) -> StepOutcome:
    """Do a step; a failure is an outcome with an error. `answer` is told the run's id as soon as there is one."""
    run_id = request.run_id
    with Lines() as lines:
        try:
            if request.step == PLAN:
                run_id = _begin(request, settings, lines)
                if answer is not None:
                    _write(answer, StepOutcome(run_id))
            if request.step == RETIRE:
                return _end(request, settings, lines)
            if run_id is None:
                raise RunFailed(
                    f"no run of {request.asset} was begun for the DAG run {request.key}",
                    hint="clear the DAG run from its task 'plan' on",
                )
            stats = do_step(run_id, request.step, settings, lines)
            publication = _publication(run_id, settings) if request.step == PUBLISH else {}
            return StepOutcome(run_id, stats, publication)
        except MillraceError as error:
            return StepOutcome(run_id, error=_failure(error))


def _begin(request: StepRequest, settings: Settings, lines: Lines) -> str:
    spec = load_spec(request.spec)
    asked = RunRequest(
        window=Window(request.window_start, request.window_end),
        full_refresh=request.full_refresh,
        trigger=request.trigger,
        key=request.key,
        wait_s=_WAIT_S,
        limits=request.limits,
    )
    run_id = begin(spec, settings, asked, lines)
    lines.note(f"run {run_id} of {spec.asset}, for the DAG run {request.key}")
    return run_id


def _end(request: StepRequest, settings: Settings, lines: Lines) -> StepOutcome:
    """Retire what is too old after a publish; give up a run that did not come so far. Without a run: nothing."""
    with Catalog.open(settings.catalog_url) as catalog:
        record = _record(catalog, request)
    if record is None:
        lines.note("no run was begun: nothing to clear away")
        return StepOutcome()
    if record.published_at is not None:
        return StepOutcome(record.id, do_step(record.id, RETIRE, settings, lines))
    if record.state is RunState.RUNNING:
        give_up(record.id, _reason(request, record), settings, lines)
        lines.note(f"run {record.id} is given up, and what it had loaded is taken away; readers keep what they have")
    return StepOutcome(record.id)


def _record(catalog: Catalog, request: StepRequest) -> RunRecord | None:
    """The run of this DAG run; when its first task was lost before it could tell, the one that holds the asset."""
    if request.run_id is not None:
        return catalog.runs.get(request.run_id)
    holder = catalog.leases.holder(request.asset)
    record = None if holder is None else catalog.runs.get(holder.run_id)
    ours = record is not None and record.trigger == request.trigger and _is_of(record.key, request.key)
    return record if ours else None


def _is_of(key: str | None, dag_run: str) -> bool:
    return key is not None and key.partition("#")[0] == dag_run


def _reason(request: StepRequest, record: RunRecord) -> MillraceError:
    """Why the run is given up: a dry run is at its end, or the error of the step that failed."""
    if request.dry_run:
        return Cancelled("a dry run ends here")
    failed = next((s.error for s in reversed(record.steps) if s.error is not None), None)
    if failed is None:
        return RunFailed(f"the DAG run {request.key} has ended before its publish")
    kind: Any = getattr(errors, failed.kind, RunFailed)
    made: MillraceError = kind(failed.message, hint=failed.hint)
    return made


def _publication(run_id: str, settings: Settings) -> Mapping[str, Any]:
    """What the asset's event says of this publish; all of it JSON."""
    with Catalog.open(settings.catalog_url) as catalog:
        record = catalog.runs.get(run_id)
        assert record.version_id is not None
        version = catalog.versions.get(record.version_id)
        results = [found.result for found in catalog.checks.of_run(run_id)]
        spec = parse_spec(catalog.assets.spec_text(record.spec_digest), path=f"{record.asset}.yaml")
    counts = {step.name: step.stats for step in record.steps}
    return {
        "version": version.id,
        "run": run_id,
        "rows": version.rows,
        "targets": sorted(version.targets),
        "columns": {field.name: field.type for field in version.fields},
        "window": {
            "start": record.window_start.isoformat() if record.window_start else None,
            "end": record.window_end.isoformat() if record.window_end else None,
        },
        "checks": [
            {
                "check": result.description,
                "severity": result.severity,
                "passed": result.passed,
                "expected": result.expected,
                "observed": result.observed,
                "error": result.error,
            }
            for result in results
        ],
        "source": _dataset(spec.source.connector, spec.source.options, record.asset, settings),
        "loaded": [
            {
                **_dataset(target.connector, target.options, record.asset, settings),
                "rows": counts[f"load:{target.name}"].get("rows_loaded"),
                "bytes": counts[f"load:{target.name}"].get("bytes_loaded"),
            }
            for target in spec.targets
        ],
    }


def _dataset(connector: str, options: Options, asset: str, settings: Settings) -> dict[str, str]:
    """A dataset as lineage names it: where it is (without any secret), and its name there."""
    named = (getattr(options, field, None) for field in ("table", "topic", "path"))
    name = next((str(value) for value in named if value), asset)
    connection = getattr(options, "connection", None)
    if not connection:
        return {"namespace": connector, "name": name}
    found = resolve(connection, file=settings.connections_file)
    port = f":{found.port}" if found.port else ""
    place = f"{found.scheme}://{found.host}{port}" if found.scheme != EMBEDDED else f"{EMBEDDED}://{connector}"
    return {"namespace": place, "name": ".".join(part for part in (found.database, name) if part)}


def _failure(error: MillraceError) -> StepFailure:
    passes = isinstance(error, TransientError | RunConflict)
    return StepFailure(type(error).__name__, error.message, error.hint, transient=passes)


def _write(answer: Path, outcome: StepOutcome) -> None:
    draft = answer.with_suffix(".new")
    draft.write_text(outcome.to_json(), encoding="utf-8")
    os.replace(draft, answer)


if __name__ == "__main__":
    sys.exit(main())
