"""One run from plan to retire: the order of the steps, the lease, retries, the timeout, cancel and resume."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from millrace.catalog import Catalog, Lease, NewRun, Registration, RunError, RunRecord, RunState, VersionState
from millrace.connectors.base import PlanRequest, Window
from millrace.errors import Cancelled, MillraceError, RunConflict, TransientError
from millrace.jobs import check, load, publishing, stage
from millrace.jobs.available import refuse_what_cannot_run
from millrace.jobs.context import Observer, RunContext, Silent, Stats
from millrace.jobs.gate import GateServer
from millrace.jobs.monitor import Monitor
from millrace.jobs.plan import make_plan, run_steps
from millrace.jobs.session import SessionHolder
from millrace.jobs.spark_errors import translate
from millrace.jobs.statistics import RunStatistics, SourceStatistics, TargetStatistics
from millrace.jobs.stop import Stop
from millrace.jobs.storage import storage
from millrace.spec import Spec
from millrace.spec.settings import Settings

LEASE_S = 30.0
HEARTBEAT_S = 5.0
RETRY_WAITS_S = (1.0, 5.0, 15.0)
WAIT_POLL_S = 1.0
RESUME_WITHIN = timedelta(hours=6)


@dataclass(frozen=True)
class RunRequest:
    """What a caller may choose for one run. `key` makes it idempotent, e.g. the id of a DAG run."""

    window: Window = field(default_factory=Window)
    trigger: str = "manual"
    key: str | None = None
    wait_s: float = 0.0  # how long to wait for another run of the asset; 0: refuse at once
    connections: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RunReport:
    """How a run ended. `error` is None when its version was published."""

    run_id: str
    asset: str
    version: str | None
    statistics: RunStatistics
    error: MillraceError | None = None


def run(
    spec: Spec,
    settings: Settings,
    catalog: Catalog,
    session: SessionHolder,
    request: RunRequest | None = None,
    observer: Observer | None = None,
) -> RunReport:
    """Run a spec to its end and tell how it went; a failed run is a report with an error, not an exception.

    An earlier run of the same spec whose process died is taken up where it stopped, with its own plan. Raises
    RunConflict when another run holds the asset, SpecError and NotAvailable before anything is started.
    """
    started = time.perf_counter()
    observer, request = observer or Silent(), request or RunRequest()
    refuse_what_cannot_run(spec)
    catalog.assets.register(
        Registration(spec.asset, spec.owner or "", spec.text, spec.digest, publishing.api_definitions(spec))
    )
    with GateServer(session.gate_host) as gate, Stop(spec, gate, session) as stop:
        session.start()
        if spec.checks:
            threading.Thread(target=_warm_up_checks, name="millrace-checks", daemon=True).start()
        record, lease = _begin(spec, catalog, request, observer)
        monitor = Monitor(gate, session.peek, observer.step_progress)
        context = RunContext(
            spec=spec,
            settings=settings,
            catalog=catalog,
            run_id=record.id,
            gate=gate,
            spark=session.get,
            storage=storage(settings.work_dir, session.get),
            observer=observer,
            monitor=monitor,
            connections=request.connections,
        )
        error: MillraceError | None = None
        with _heartbeat(catalog, lease, stop), monitor:
            try:
                _run_steps(context, lease, stop)
            except (MillraceError, KeyboardInterrupt) as raised:
                error = stop.reason_for(raised)
            except Exception as raised:
                error = stop.reason_for(translate(raised, f"running {spec.asset}"))
            return _finish(context, error, session.seconds, time.perf_counter() - started)


def _warm_up_checks() -> None:
    from millrace.quality import warm_up

    warm_up()


def _begin(spec: Spec, catalog: Catalog, request: RunRequest, observer: Observer) -> tuple[RunRecord, Lease]:
    """The run to do and its lease: a dead run of the same spec is resumed, other dead ones are closed."""
    new: RunRecord | None = None
    for dead in (r for r in catalog.runs.gone(LEASE_S) if r.asset == spec.asset):
        if new is None and _can_go_on(dead, spec, request):
            new = catalog.runs.resume(dead.id)
            observer.note(
                f"run {dead.id} was interrupted in step '{dead.step}' and goes on from there, with its own plan"
            )
        else:
            _close_dead(catalog, dead)
    if new is None:
        new = catalog.runs.start(
            NewRun(
                asset=spec.asset,
                spec_digest=spec.digest,
                steps=run_steps([t.name for t in spec.targets]),
                trigger=request.trigger,
                window_start=request.window.start,
                window_end=request.window.end,
                key=request.key,
            )
        )
    try:
        return new, _acquire(catalog, spec.asset, new.id, request.wait_s, observer)
    except (RunConflict, KeyboardInterrupt) as error:
        catalog.runs.finish(new.id, RunState.CANCELLED, error=_run_error(error))
        raise


def _can_go_on(dead: RunRecord, spec: Spec, request: RunRequest) -> bool:
    """Whether a dead run is still what this request asks for, and recent enough that its plan is worth keeping."""
    return (
        dead.plan is not None
        and dead.published_at is None
        and dead.spec_digest == spec.digest
        and (dead.window_start, dead.window_end) == (request.window.start, request.window.end)
        and datetime.now(UTC) - dead.started_at < RESUME_WITHIN
    )


def _close_dead(catalog: Catalog, dead: RunRecord) -> None:
    if dead.published_at is not None:
        catalog.runs.finish(dead.id, RunState.SUCCEEDED, attempt=dead.attempt)
        return
    error = RunError("Interrupted", f"process {dead.pid} on {dead.host} ended in step '{dead.step}'")
    catalog.runs.finish(dead.id, RunState.FAILED, error=error, attempt=dead.attempt)
    if dead.version_id is not None:
        catalog.versions.reject(dead.version_id, "its run was interrupted")


def _acquire(catalog: Catalog, asset: str, run_id: str, wait_s: float, observer: Observer) -> Lease:
    deadline = time.monotonic() + wait_s
    told = False
    while True:
        try:
            return catalog.leases.acquire(asset, run_id, LEASE_S)
        except RunConflict as conflict:
            if time.monotonic() >= deadline:
                raise
            if not told:
                observer.note(f"waiting: {conflict.message}")
                told = True
            time.sleep(WAIT_POLL_S)


def _run_steps(context: RunContext, lease: Lease, stop: Stop) -> None:
    names = [t.name for t in context.spec.targets]
    mended = publishing.roll_forward(context.catalog, context.spec.asset, context.target)
    if mended:
        context.observer.note(f"completed the publish that a crash had left half-way in: {', '.join(mended)}")
    loads = {f"load:{n}": _of(load.load, n) for n in names}
    for group in (
        {"plan": plan},
        {"stage": stage.stage},
        {"check": check.check},
        loads,
        {f"verify:{n}": _of(load.verify, n) for n in names},
        {"publish": lambda c: publishing.publish(c, lease)},
        {"retire": publishing.retire},
    ):
        todo = [s for s in context.record.unfinished if s in group]
        _side_by_side(context, {s: group[s] for s in todo}, stop)
        if group is loads:
            _note_loaded(context, names)


def _note_loaded(context: RunContext, names: Sequence[str]) -> None:
    """The version is loaded in every target; a resumed run may have been killed just before it could say so."""
    version = context.version()
    if version.state is VersionState.LOADING:
        rows = [int(context.step_stats(f"load:{n}")["rows_loaded"]) for n in names]
        context.catalog.versions.loaded(version.id, max(rows))


def _of(step: Callable[[RunContext, str], Stats], name: str) -> Callable[[RunContext], Stats]:
    return lambda context: step(context, name)


def plan(context: RunContext) -> Stats:
    """The step `plan`: freeze what will be read. The first plan of a run is the one that holds."""
    spec = context.spec
    check.refuse_bad_arguments(spec)
    watermark = context.catalog.assets.watermark(spec.asset)
    request = PlanRequest(spec.limits.channels, _window(context.record), watermark, context.spark)
    made = make_plan(spec, request.window, context.source().plan(request))
    context.catalog.runs.freeze_plan(context.run_id, made.to_json())
    source = made.source
    return {"splits": len(source.splits), "estimated_rows": source.estimated_rows, "notes": list(source.notes)}


def _window(record: RunRecord) -> Window:
    return Window(record.window_start, record.window_end)


def _side_by_side(context: RunContext, steps: Mapping[str, Callable[[RunContext], Stats]], stop: Stop) -> None:
    """Do the steps of a group at once. The first failure stops the others' tasks before it is raised.

    Steps never run in the main thread: an interrupt there must not cut a call to the JVM in two.
    """
    if not steps:
        return
    with ThreadPoolExecutor(len(steps), thread_name_prefix="millrace-step") as pool:
        futures = [pool.submit(_with_retries, context, name, step, stop) for name, step in steps.items()]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            failed = next((f.exception() for f in done if f.exception()), None)
            if failed is not None and len(steps) > 1:
                stop.now("a step beside this one has failed", because=failed)
        except KeyboardInterrupt:
            stop.now("cancelled")
            raise
    for future in futures:
        future.result()


def _with_retries(context: RunContext, name: str, step: Callable[[RunContext], Stats], stop: Stop) -> None:
    for wait_s in (*RETRY_WAITS_S, None):
        stop.check()
        context.catalog.runs.start_step(context.run_id, name)
        context.observer.step_started(name)
        context.monitor.started(name, _expected_rows(context, name))
        started = time.perf_counter()
        try:
            stats = step(context)
        except TransientError as error:
            context.catalog.runs.fail_step(context.run_id, name, _run_error(error))
            if wait_s is None or stop.stopped.is_set():
                raise
            context.observer.note(f"{name}: {error.message}; trying again in {wait_s:.0f} s")
            stop.stopped.wait(wait_s)
        except BaseException as error:
            context.catalog.runs.fail_step(context.run_id, name, _run_error(error))
            raise
        else:
            stats = {**stats, "seconds": round(time.perf_counter() - started, 3)}
            context.catalog.runs.finish_step(context.run_id, name, stats)
            context.observer.step_finished(name, stats)
            return
        finally:
            context.monitor.ended(name)


def _expected_rows(context: RunContext, step: str) -> int | None:
    if step == "stage":
        return context.plan().source.estimated_rows
    staged = context.step_stats("stage").get("rows_staged")
    return int(staged) if staged is not None else None


def _finish(context: RunContext, error: MillraceError | None, session_s: float, seconds: float) -> RunReport:
    catalog = context.catalog
    record = context.record
    published = record.published_at is not None
    statistics = collect_statistics(record, session_s, seconds)
    if error is not None and record.version_id is not None and not published:
        catalog.versions.reject(record.version_id, error.message[:500])
        _clean_up(context)
    state = RunState.SUCCEEDED if error is None else RunState.FAILED
    if isinstance(error, Cancelled):
        state = RunState.CANCELLED
    catalog.runs.finish(
        record.id, state, stats=statistics.to_json(), error=_run_error(error) if error is not None else None
    )
    return RunReport(record.id, context.spec.asset, record.version_id if published else None, statistics, error)


def _clean_up(context: RunContext) -> None:
    """Take a rejected version out of the stores now, if they can be reached; else the next run's retire does it."""
    try:
        publishing.erase(context, context.version())
    except MillraceError as error:
        context.observer.note(f"the next run will clear away what this one has loaded: {error.message}")


def collect_statistics(record: RunRecord, session_s: float, seconds: float) -> RunStatistics:
    """The statistics of a run from what its finished steps left in the catalog."""
    stats = {s.name: dict(s.stats) for s in record.steps if s.stats}
    times = {name: float(s.pop("seconds", 0.0)) for name, s in stats.items()}
    source = stats.get("stage", {})
    targets = {name.removeprefix("load:"): s for name, s in stats.items() if name.startswith("load:")}
    return RunStatistics(
        SourceStatistics(**source, seconds=times["stage"]) if source else SourceStatistics(),
        {name: TargetStatistics(**s, seconds=times[f"load:{name}"]) for name, s in targets.items()},
        times,
        round(session_s, 3),
        round(seconds, 3),
    )


def _run_error(error: BaseException) -> RunError:
    if isinstance(error, MillraceError):
        return RunError(type(error).__name__, error.message, error.hint)
    return RunError(type(error).__name__, str(error))


@contextmanager
def _heartbeat(catalog: Catalog, lease: Lease, stop: Stop) -> Iterator[None]:
    """Renew the lease while the run goes on; a lost lease stops the run before it can publish."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(HEARTBEAT_S):
            try:
                catalog.leases.renew(lease, LEASE_S)
            except RunConflict as error:
                stop.now(f"lost the lease: {error.message}", because=error)
                return
            except TransientError:
                continue  # the lease outlives several missed beats

    thread = threading.Thread(target=beat, name="millrace-heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=2 * HEARTBEAT_S)
