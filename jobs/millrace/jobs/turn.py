"""Whose turn it is: a run is begun, taken up again or refused, and holds its asset's lease while it is at work."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from millrace.catalog import Catalog, Lease, NewRun, Registration, RunError, RunRecord, RunState, VersionState
from millrace.errors import MillraceError, RunConflict, TransientError
from millrace.jobs import alerting
from millrace.jobs.available import refuse_what_cannot_run
from millrace.jobs.context import Driver
from millrace.jobs.plan import run_steps
from millrace.jobs.publishing import api_definitions
from millrace.jobs.request import RunRequest
from millrace.jobs.stop import Stop
from millrace.jobs.windows import for_window

HEARTBEAT_S = 5.0
WAIT_POLL_S = 1.0
RESUME_WITHIN = timedelta(hours=6)
_LONGEST_KEY = 200


@dataclass(frozen=True)
class Terms:
    """How a run holds its asset's lease: by its process, or by time alone when its steps are processes of their own."""

    ttl_s: float
    by_process: bool


IN_PROCESS = Terms(ttl_s=30.0, by_process=True)
#: Outlives the time that a step waits for its turn in a scheduler. A run that is given up frees it at once.
STEP_BY_STEP = Terms(ttl_s=3600.0, by_process=False)


@dataclass(frozen=True)
class Turn:
    """A run that holds its asset's lease."""

    run_id: str
    lease: Lease
    terms: Terms


def begin(driver: Driver, request: RunRequest, terms: Terms) -> Turn:
    """The run to do: the one that was begun with this key, a dead one that can go on, or a new one.

    A key whose run has ended begins another run. Raises RunConflict while another run holds the asset, SpecError and
    NotAvailable before anything is kept.
    """
    spec, catalog = driver.spec, driver.catalog
    refuse_what_cannot_run(spec)
    for_window(spec, request.window)
    catalog.assets.register(
        Registration(spec.asset, spec.owner or "", spec.text, spec.digest, api_definitions(spec)),
    )
    key, known = _begun(catalog, spec.asset, request.key)
    if known is not None and not terms.by_process:
        return _hold(driver, known.id, request.wait_s, terms)
    run = _of_the_dead(driver, request, key, terms) or _start(driver, request)
    try:
        return _hold(driver, run.id, request.wait_s, terms)
    except (RunConflict, KeyboardInterrupt) as error:
        catalog.runs.finish(run.id, RunState.CANCELLED, error=run_error(error))
        raise


def take_up(driver: Driver, run_id: str, terms: Terms) -> Turn:
    """Go on with a run that was begun before, also with one that has failed or was given up since.

    Its plan and its stage are used again. When its version was rejected, what it had loaded counts no more. Raises
    RunFailed for a run that has succeeded, RunConflict while another run holds the asset.
    """
    catalog = driver.catalog
    if catalog.runs.get(run_id).state is not RunState.RUNNING:
        try:
            catalog.runs.resume(run_id)
        except RunConflict:
            if catalog.runs.get(run_id).state is not RunState.RUNNING:
                raise  # otherwise another step of the same run has just taken it up
    turn = _hold(driver, run_id, 0.0, terms)
    version_id = catalog.runs.get(run_id).version_id
    version = None if version_id is None else catalog.versions.get(version_id)
    if version is not None and version.state is VersionState.REJECTED:
        columns = [f.column for f in version.fields]
        catalog.versions.create(run_id, columns, version.targets, version.stage_path, version.change)
    return turn


@contextmanager
def held(catalog: Catalog, turn: Turn, stop: Stop) -> Iterator[None]:
    """Renew the lease while the run is at work; a lost lease stops the run before it can publish."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(HEARTBEAT_S):
            try:
                catalog.leases.renew(turn.lease, turn.terms.ttl_s)
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


def run_error(error: BaseException) -> RunError:
    """Any error as the catalog keeps it."""
    if isinstance(error, MillraceError):
        return RunError(type(error).__name__, error.message, error.hint)
    return RunError(type(error).__name__, str(error))


def _start(driver: Driver, request: RunRequest) -> RunRecord:
    """A new run, or the one of this key that this process may go on with. Raises RunConflict when another one does."""
    spec, runs = driver.spec, driver.catalog.runs
    key, known = _begun(driver.catalog, spec.asset, request.key)
    if known is not None:
        return runs.resume(known.id)
    return runs.start(
        NewRun(
            asset=spec.asset,
            spec_digest=spec.digest,
            steps=run_steps([t.name for t in spec.targets]),
            trigger=request.trigger,
            window_start=request.window.start,
            window_end=request.window.end,
            key=key,
            choices=request.choices(),
        )
    )


def _begun(catalog: Catalog, asset: str, key: str | None) -> tuple[str | None, RunRecord | None]:
    """The key to use, and the run that goes on under it; a key whose runs have ended is used with a number."""
    if key is None:
        return None, None
    if len(key) > _LONGEST_KEY:
        key = hashlib.sha256(key.encode()).hexdigest()
    tried, number = key, 1
    while True:
        found = catalog.runs.find(asset, tried)
        if found is None or found.state is RunState.RUNNING:
            return tried, found
        number += 1
        tried = f"{key}#{number}"


def _of_the_dead(driver: Driver, request: RunRequest, key: str | None, terms: Terms) -> RunRecord | None:
    """Close the asset's runs that nobody works on any more, but for one that does what is asked: it is resumed."""
    catalog = driver.catalog
    found: RunRecord | None = None
    for dead in (r for r in catalog.runs.gone(IN_PROCESS.ttl_s) if r.asset == driver.spec.asset):
        if found is None and terms.by_process and _can_go_on(dead, driver, request, key):
            found = catalog.runs.resume(dead.id)
            driver.observer.note(
                f"run {dead.id} was interrupted in step '{dead.step}' and goes on from there, with its own plan"
            )
        else:
            _close(catalog, dead)
            alerting.run_ended(driver, dead.id, send=False)
    return found


def _can_go_on(dead: RunRecord, driver: Driver, request: RunRequest, key: str | None) -> bool:
    """Whether a dead run is still what this request asks for, and recent enough that its plan is worth keeping."""
    return (
        dead.plan is not None
        and dead.key == key
        and dead.published_at is None
        and dead.spec_digest == driver.spec.digest
        and dict(dead.choices) == request.choices()
        and (dead.window_start, dead.window_end) == (request.window.start, request.window.end)
        and datetime.now(UTC) - dead.started_at < RESUME_WITHIN
    )


def _close(catalog: Catalog, dead: RunRecord) -> None:
    if dead.published_at is not None:
        catalog.runs.finish(dead.id, RunState.SUCCEEDED, attempt=dead.attempt)
        return
    error = RunError("Interrupted", f"process {dead.pid} on {dead.host} ended in step '{dead.step}'")
    catalog.runs.finish(dead.id, RunState.FAILED, error=error, attempt=dead.attempt)
    if dead.version_id is not None:
        catalog.versions.reject(dead.version_id, "its run was interrupted")


def _hold(driver: Driver, run_id: str, wait_s: float, terms: Terms) -> Turn:
    deadline = time.monotonic() + wait_s
    told = False
    while True:
        try:
            asset = driver.spec.asset
            lease = driver.catalog.leases.acquire(asset, run_id, terms.ttl_s, by_process=terms.by_process)
            return Turn(run_id, lease, terms)
        except RunConflict as conflict:
            if time.monotonic() >= deadline:
                raise
            if not told:
                driver.observer.note(f"waiting: {conflict.message}")
                told = True
            time.sleep(WAIT_POLL_S)
