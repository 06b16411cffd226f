"""A run whose steps are done one by one, each by a process of its own, as a scheduler such as Airflow does.

`begin` gives the run's id, `do_step` does one step of it, and `give_up` ends a run that won't go on; the step `retire`
ends one that has. Between the steps the run holds its asset's lease by time, so that runs of one asset never overlap.
The run uses the spec that it began with, whatever has become of the file. Importing this imports no Spark.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from millrace.catalog import Catalog, RunRecord, RunState
from millrace.errors import MillraceError, RunFailed
from millrace.jobs.actions import at_work, before, side_by_side
from millrace.jobs.context import Driver, Observer, RunContext, Silent, Stats
from millrace.jobs.gate import GateServer
from millrace.jobs.judging import SOURCE, source_checks
from millrace.jobs.outcome import collect_statistics, finish
from millrace.jobs.request import RunRequest, as_chosen
from millrace.jobs.session import SessionHolder
from millrace.jobs.spark_errors import translate
from millrace.jobs.stop import Stop
from millrace.jobs.turn import STEP_BY_STEP, take_up
from millrace.jobs.turn import begin as begin_run
from millrace.spec import Spec, parse_spec
from millrace.spec.settings import Settings

_READ_THE_STAGE = ("check", "load", "verify")


def begin(spec: Spec, settings: Settings, request: RunRequest, observer: Observer | None = None) -> str:
    """Begin a run, take its asset's lease, and give the run's id. Nothing is read yet.

    With the `key` of a run that is under way, it is that run: a scheduler may ask again. With the key of one that has
    ended it is a new run. Raises RunConflict while another run holds the asset, SpecError or NotAvailable for a spec
    that can't be run.
    """
    with _catalog(settings) as catalog:
        driver = Driver(spec, settings, catalog, SessionHolder(settings), observer or Silent(), request.connections)
        return begin_run(driver, request, STEP_BY_STEP).run_id


def do_step(
    run_id: str,
    step: str,
    settings: Settings,
    observer: Observer | None = None,
    session: SessionHolder | None = None,
) -> Stats:
    """Do one step of a run, with its retries, limits and lease, and give what it counted, as JSON.

    A step that was done is done again, from the run's own plan and stage; the steps that follow from it then count as
    not done. Steps before it that are not done, or whose results are gone, are done first. A run that had failed or
    was given up goes on by this. `limits.timeout` holds for each step.

    Raises what the step raises (TransientError: it may pass later); the run stays open, until it is given up. Raises
    RunConflict when another run has the asset's lease by now, RunFailed for a step before `publish` of a run that has
    published. Without a `session` of the caller's, one is started where the step needs Spark, and stopped after it.
    """
    with _catalog(settings) as catalog:
        record = catalog.runs.get(run_id)
        spec = _spec_of(catalog, record)
        needed = before(step, [t.name for t in spec.targets])
        if record.published_at is not None and step not in ("publish", "retire"):
            raise RunFailed(
                f"run {run_id} has published version {record.version_id} of '{spec.asset}', so its step '{step}' can't "
                "be done again",
                hint="begin a new run: in Airflow, clear the DAG run from its first task on",
            )
        if record.state is RunState.SUCCEEDED:
            return next(s.stats for s in record.steps if s.name == step)
        with _session(session, settings, spec) as holder:
            driver = Driver(spec, settings, catalog, holder, observer or Silent())
            return _do(driver, run_id, (*needed, step))


def give_up(
    run_id: str,
    error: MillraceError,
    settings: Settings,
    observer: Observer | None = None,
    session: SessionHolder | None = None,
) -> None:
    """End a run that won't go on: reject its version, take it out of the stores, release the lease. Idempotent.

    Its plan and stage stay until the asset's next run retires them, so `do_step` can still go on with it. A store
    that can't be reached now is cleared by that run too. Nothing happens to a run that has ended.
    """
    with _catalog(settings) as catalog:
        record = catalog.runs.get(run_id)
        if record.state is not RunState.RUNNING:
            return
        spec = _spec_of(catalog, record)
        with _session(session, settings, spec) as holder:
            driver = Driver(spec, settings, catalog, holder, observer or Silent())
            _finish(driver, record, error)


def _do(driver: Driver, run_id: str, steps: tuple[str, ...]) -> Stats:
    """The last one of these steps, and of those before it what isn't done."""
    spec, session = driver.spec, driver.session
    with GateServer(session.gate_host) as gate, Stop(spec, gate, session) as stop:
        turn = take_up(driver, run_id, STEP_BY_STEP)
        with at_work(driver, turn, gate, stop) as context:
            try:
                for step in _undone(context, steps):
                    side_by_side(context, [step], stop)
                stats = context.step_stats(steps[-1])
                if not context.record.unfinished:
                    _finish(driver, context.record, None)
            except (MillraceError, KeyboardInterrupt) as raised:
                raise stop.reason_for(raised) from raised
            except Exception as raised:
                raise stop.reason_for(translate(raised, f"running {spec.asset}")) from raised
    return stats


def _undone(context: RunContext, steps: tuple[str, ...]) -> list[str]:
    """What is to be done of these steps: the last, and those that aren't done; from the stage on when that is gone."""
    unfinished = context.record.unfinished
    undone = [step for step in steps if step in unfinished or step == steps[-1]]
    needed = ["stage"] if any(step.partition(":")[0] in _READ_THE_STAGE for step in undone) else []
    if "check" in undone and source_checks(context.spec):
        needed.append(SOURCE)
    if "stage" not in undone and not all(context.storage.exists(context.file(folder)) for folder in needed):
        return [step for step in steps if step != "plan"]
    return undone


def _finish(driver: Driver, record: RunRecord, error: MillraceError | None) -> None:
    seconds = (datetime.now(UTC) - record.started_at).total_seconds()
    finish(driver, record.id, error, collect_statistics(record, driver.session.seconds, seconds), keep_stage=True)


def _spec_of(catalog: Catalog, record: RunRecord) -> Spec:
    spec = parse_spec(catalog.assets.spec_text(record.spec_digest), path=Path(f"{record.asset}.yaml"))
    return as_chosen(spec, record.choices)


@contextmanager
def _catalog(settings: Settings) -> Iterator[Catalog]:
    settings.home.mkdir(parents=True, exist_ok=True)
    with Catalog.open(settings.catalog_url) as catalog:
        yield catalog


@contextmanager
def _session(given: SessionHolder | None, settings: Settings, spec: Spec) -> Iterator[SessionHolder]:
    if given is not None:
        yield given
        return
    with SessionHolder(settings, f"millrace {spec.asset}", spec.limits.channels) as own:
        yield own
