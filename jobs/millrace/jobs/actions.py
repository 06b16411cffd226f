"""What each step of a run does, and what must be done before it.

Steps are `plan`, `stage`, `check`, `load:<target>`, `verify:<target>`, `publish` and `retire`.
"""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace

from millrace.connectors.base import PlanRequest, Window
from millrace.errors import NotFound, TransientError
from millrace.jobs import publishing
from millrace.jobs.context import Driver, RunContext, Stats
from millrace.jobs.gate import GateServer
from millrace.jobs.lines import beginning
from millrace.jobs.monitor import Monitor
from millrace.jobs.plan import make_plan, run_steps
from millrace.jobs.stop import Stop
from millrace.jobs.turn import Turn, held, run_error
from millrace.jobs.windows import for_window

_ON_SPARK = ("stage", "check", "load", "verify")
RETRY_WAITS_S = (1.0, 5.0, 15.0)

Action = Callable[[RunContext], Stats]


@contextmanager
def at_work(driver: Driver, turn: Turn, gate: GateServer, stop: Stop) -> Iterator[RunContext]:
    """What the steps of a run work in; its lease is renewed meanwhile."""
    record = driver.catalog.runs.get(turn.run_id)
    driver = replace(driver, spec=for_window(driver.spec, Window(record.window_start, record.window_end)))
    monitor = Monitor(gate, driver.session.peek, driver.observer.step_progress)
    with held(driver.catalog, turn, stop), monitor:
        yield RunContext(driver, turn.run_id, turn.lease, gate, monitor)


def before(step: str, targets: Sequence[str]) -> tuple[str, ...]:
    """The steps that must be done before this one, in order. Raises NotFound for a step that there isn't."""
    order = run_steps(targets)
    if step not in order:
        raise NotFound(f"a run has no step '{step}'", hint=f"its steps are: {', '.join(order)}")
    kind, _, target = step.partition(":")
    match kind:
        case "load":
            return ("plan", "stage", "check")
        case "verify":
            return ("plan", "stage", "check", f"load:{target}")
        case _:
            return order[: order.index(step)]


def after(step: str, targets: Sequence[str]) -> tuple[str, ...]:
    """The steps whose results are worth nothing when this one is done again."""
    return tuple(other for other in run_steps(targets) if step in before(other, targets))


def side_by_side(context: RunContext, steps: Sequence[str], stop: Stop) -> None:
    """Do these steps at once. The first failure stops the others' tasks before it is raised.

    Steps never run in the main thread: an interrupt there must not cut a call to the JVM in two.
    """
    if not steps:
        return
    with ThreadPoolExecutor(len(steps), thread_name_prefix="millrace-step") as pool:
        futures = [pool.submit(_with_retries, context, step, stop) for step in steps]
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


def warm_up_checks(context: RunContext) -> None:
    """Import what the checks need while something else is waited for."""
    if context.spec.checks:
        threading.Thread(target=_warm_up, name="millrace-checks", daemon=True).start()


def _warm_up() -> None:
    from millrace.quality import warm_up

    warm_up()


def _action(step: str) -> Action:
    """The code of a step; imported here, because only what runs Spark may import it."""
    kind, _, target = step.partition(":")
    if kind in _ON_SPARK:  # the session's thread may be importing it: wait for the whole before a part is asked for
        importlib.import_module("pyspark")
    match kind:
        case "plan":
            return plan
        case "stage":
            from millrace.jobs.stage import stage

            return stage
        case "check":
            from millrace.jobs.check import check

            return check
        case "load":
            from millrace.jobs.load import load

            return lambda context: load(context, target)
        case "verify":
            from millrace.jobs.load import verify

            return lambda context: verify(context, target)
        case "publish":
            return publishing.publish
        case _:
            return publishing.retire


def plan(context: RunContext) -> Stats:
    """The step `plan`: freeze what will be read. The first plan of a run is the one that holds."""
    from millrace.jobs.check import refuse_bad_arguments

    spec, record = context.spec, context.record
    refuse_bad_arguments(spec)
    mended = publishing.roll_forward(context.catalog, spec.asset, context.target)
    if mended:
        context.observer.note(f"completed the publish that a crash had left half-way in: {', '.join(mended)}")
    window = Window(record.window_start, record.window_end)
    full_refresh = bool(record.choices.get("full_refresh"))
    begins = beginning(spec, context.catalog, window, full_refresh=full_refresh)
    request = PlanRequest(spec.limits.channels, window, begins.watermark, context.spark)
    made = make_plan(spec, window, context.source().plan(request), begins.line)
    context.catalog.runs.freeze_plan(context.run_id, made.to_json())
    source = made.source
    return {"splits": len(source.splits), "estimated_rows": source.estimated_rows, "notes": list(source.notes)}


def _with_retries(context: RunContext, step: str, stop: Stop) -> None:
    runs, run_id, observer = context.catalog.runs, context.run_id, context.observer
    later = after(step, [t.name for t in context.spec.targets])
    for wait_s in (*RETRY_WAITS_S, None):
        stop.check()
        runs.start_step(run_id, step, undo=later)
        observer.step_started(step)
        context.monitor.started(step, _expected_rows(context, step))
        started = time.perf_counter()
        try:
            stats = _action(step)(context)
        except TransientError as error:
            runs.fail_step(run_id, step, run_error(error))
            if wait_s is None or stop.stopped.is_set():
                raise
            observer.note(f"{step}: {error.message}; trying again in {wait_s:.0f} s")
            stop.stopped.wait(wait_s)
        except BaseException as error:
            runs.fail_step(run_id, step, run_error(error))
            raise
        else:
            stats = {**stats, "seconds": round(time.perf_counter() - started, 3)}
            runs.finish_step(run_id, step, stats)
            observer.step_finished(step, stats)
            return
        finally:
            context.monitor.ended(step)


def _expected_rows(context: RunContext, step: str) -> int | None:
    if step == "stage":
        return context.plan().source.estimated_rows
    staged = context.step_stats("stage").get("rows_staged")
    if staged is None:
        return None
    return int(staged) - int(context.step_stats("check").get("quarantined", 0))
