"""One run from plan to retire in this process: the order of the steps, the timeout, cancel and resume."""

from __future__ import annotations

import time

from millrace.catalog import Catalog
from millrace.errors import MillraceError
from millrace.jobs.actions import at_work, side_by_side, warm_up_checks
from millrace.jobs.available import refuse_what_cannot_run
from millrace.jobs.context import Driver, Observer, RunContext, Silent
from millrace.jobs.gate import GateServer
from millrace.jobs.outcome import RunReport, collect_statistics, finish
from millrace.jobs.request import RunRequest, as_chosen
from millrace.jobs.session import SessionHolder
from millrace.jobs.spark_errors import translate
from millrace.jobs.stop import Stop
from millrace.jobs.turn import IN_PROCESS, begin
from millrace.spec import Spec
from millrace.spec.settings import Settings

__all__ = ["RunReport", "RunRequest", "run"]


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
    request = request or RunRequest()
    spec = as_chosen(spec, request.choices())
    driver = Driver(spec, settings, catalog, session, observer or Silent(), request.connections)
    refuse_what_cannot_run(spec)
    with GateServer(session.gate_host) as gate, Stop(spec, gate, session) as stop:
        session.start()
        turn = begin(driver, request, IN_PROCESS)
        error: MillraceError | None = None
        with at_work(driver, turn, gate, stop) as context:
            warm_up_checks(context)
            try:
                _run_steps(context, stop)
            except (MillraceError, KeyboardInterrupt) as raised:
                error = stop.reason_for(raised)
            except Exception as raised:
                error = stop.reason_for(translate(raised, f"running {spec.asset}"))
            seconds = time.perf_counter() - started
            return finish(driver, turn.run_id, error, collect_statistics(context.record, session.seconds, seconds))


def _run_steps(context: RunContext, stop: Stop) -> None:
    names = [t.name for t in context.spec.targets]
    for group in (
        ["plan"],
        ["stage"],
        ["check"],
        [f"load:{name}" for name in names],
        [f"verify:{name}" for name in names],
        ["publish"],
        ["retire"],
    ):
        side_by_side(context, [step for step in context.record.unfinished if step in group], stop)
