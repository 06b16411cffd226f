"""The end of a run is told: what it means for the asset, as `millrace.quality.alerts` takes it.

Nothing here fails a run. It has ended, and its lease is free, before anything is sent; what can't be sent now stays in
the catalog's outbox, for the end of the next run or `millrace alerts send`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from millrace.catalog import Catalog, CheckRecord, RunRecord, RunState
from millrace.errors import Cancelled, MillraceError
from millrace.jobs.context import Driver, connections_of
from millrace.jobs.docs_place import address
from millrace.quality.alerts import CheckFinding, Delivery, Failure, Happening, deliver, report, tell_late
from millrace.spec import Spec, load_spec
from millrace.spec.model import AlertEvent, Mask, Severity
from millrace.spec.settings import Settings

#: No further alert is begun after this time; one that is under way ends by its own timeout.
BUDGET_S = 10.0
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")


def run_ended(driver: Driver, run_id: str, error: MillraceError | None = None, *, send: bool = True) -> None:
    """Keep what this end of a run means, and send the alerts that are due. Raises nothing."""
    if not driver.spec.alerts:
        return
    try:
        keep(driver.catalog, driver.spec, driver.settings, run_id, error)
        if send:
            resolve = connections_of(driver.settings, driver.connections)
            known = {alert.to for alert in driver.spec.alerts}  # a task of Airflow is told no other connections
            for went in deliver(driver.catalog, resolve, _now, only=known, budget_s=BUDGET_S):
                driver.observer.note(_line(went))
    except Exception as raised:  # whatever an alert comes to, the run has ended as it has
        driver.observer.note(f"alerting failed: {type(raised).__name__}: {raised}")


def _line(went: Delivery) -> str:
    what = f"'{went.alert.destination}' of {went.alert.event}"
    if not went.error:
        return f"told {what}"
    later = "and it is given up" if went.given_up else "which is tried again later"
    return f"could not tell {what}, {later}: {went.error}"


def keep(catalog: Catalog, spec: Spec, settings: Settings, run_id: str, error: MillraceError | None = None) -> None:
    """Keep the incidents and alerts of a run that has ended. One that a person has stopped makes none."""
    record = catalog.runs.get(run_id)
    checks = catalog.checks.of_run(run_id)
    published = record.published_at is not None
    docs = {"data docs": address(settings, spec.asset, run_id)} if checks else {}
    about = Happening(
        AlertEvent.RECOVERED,
        spec.asset,
        _now(),
        run_id=run_id,
        owner=spec.owner,
        serving=catalog.assets.get(spec.asset).current_version,
        links={**docs, **links_of(settings, spec.asset, run_id)},
    )
    happened = _happenings(spec, record, checks, error, about)
    recovery = about if published else None
    report(catalog, spec, happened, recovery)
    if not published:
        late(catalog, spec, settings, _now())


def find_late(
    paths: Sequence[Path], settings: Settings, now: datetime, destinations: Collection[str]
) -> tuple[list[str], list[str]]:
    """The late assets of these specs, each kept as such; then what is due is sent to these destinations, by lines."""
    settings.home.mkdir(parents=True, exist_ok=True)
    with Catalog.open(settings.catalog_url) as catalog:
        found = [spec.asset for spec in map(load_spec, paths) if late(catalog, spec, settings, now)]
        went = deliver(catalog, connections_of(settings), _now, only=destinations, budget_s=BUDGET_S)
        return found, [_line(one) for one in went]


def late(catalog: Catalog, spec: Spec, settings: Settings, now: datetime) -> bool:
    """Keep that an asset is late, if it is; whether it is."""
    about = Happening(AlertEvent.LATE, spec.asset, now, owner=spec.owner, links=links_of(settings, spec.asset, None))
    return tell_late(catalog, spec, about)


def links_of(settings: Settings, asset: str, run_id: str | None) -> Mapping[str, str]:
    """The configured links, for one asset and run; those that name a run are left out when there is none."""
    return {
        name: url.replace("{asset}", quote(asset, safe="")).replace("{run}", quote(run_id or "", safe=""))
        for name, url in settings.alert_links.items()
        if run_id is not None or "{run}" not in url
    }


def _happenings(
    spec: Spec, record: RunRecord, checks: list[CheckRecord], error: MillraceError | None, about: Happening
) -> list[Happening]:
    """What the run's end means besides a recovery; `about` has what is known of the asset and the run."""
    found = tuple(_finding(check) for check in checks if not check.result.passed)
    failure = None if isinstance(error, Cancelled) else _failure(spec, record)
    if failure is not None and failure.kind == "CheckFailed":
        blocking = tuple(f for f in found if f.severity != Severity.WARN)
        return [replace(about, event=AlertEvent.CHECK_FAILED, failure=failure, checks=blocking)]
    if failure is not None:
        return [replace(about, event=AlertEvent.RUN_FAILED, failure=failure)]
    if record.published_at is not None and found:
        return [replace(about, event=AlertEvent.CHECK_WARNED, checks=found)]
    return []


def _failure(spec: Spec, record: RunRecord) -> Failure | None:
    error = record.error
    if record.state is not RunState.FAILED or error is None:
        return None
    own = [step.name for step in record.steps if step.error is not None and step.error.message == error.message]
    failed = own[0] if own else record.step
    message = error.message
    if failed == "stage" and any(isinstance(step, Mask) for step in spec.transform):
        message = _QUOTED.sub("'…'", message)  # it may be a value from before it was masked
    return Failure(failed or "its beginning", error.kind, message, error.hint)


def _finding(check: CheckRecord) -> CheckFinding:
    result = check.result
    return CheckFinding(
        result.description, result.severity, result.observed, result.expected, result.sample, result.error
    )


def _now() -> datetime:
    return datetime.now(UTC)
