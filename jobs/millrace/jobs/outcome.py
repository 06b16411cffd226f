"""How a run ends: its state, its statistics, and the clean-up of what was never published."""

from __future__ import annotations

from dataclasses import dataclass

from millrace.catalog import RunRecord, RunState
from millrace.errors import Cancelled, MillraceError
from millrace.jobs import alerting, publishing
from millrace.jobs.context import Driver
from millrace.jobs.statistics import RunStatistics, SourceStatistics, TargetStatistics
from millrace.jobs.turn import run_error


@dataclass(frozen=True)
class RunReport:
    """How a run ended. `error` is None when its version was published."""

    run_id: str
    asset: str
    version: str | None
    statistics: RunStatistics
    error: MillraceError | None = None


def finish(
    driver: Driver, run_id: str, error: MillraceError | None, statistics: RunStatistics, *, keep_stage: bool = False
) -> RunReport:
    """End a run, release its lease, alert. A version that wasn't published is rejected, and taken out of the stores.

    With `keep_stage` a later step may still go on from the stage, until the asset's next run retires it.
    """
    catalog = driver.catalog
    record = catalog.runs.get(run_id)
    published = record.published_at is not None
    if error is not None and record.version_id is not None and not published:
        catalog.versions.reject(record.version_id, error.message[:500])
        _clean_up(driver, record.version_id, keep_stage=keep_stage)
    state = RunState.SUCCEEDED if error is None else RunState.FAILED
    if isinstance(error, Cancelled):
        state = RunState.CANCELLED
    catalog.runs.finish(
        record.id, state, stats=statistics.to_json(), error=run_error(error) if error is not None else None
    )
    alerting.run_ended(driver, record.id, error)
    return RunReport(record.id, record.asset, record.version_id if published else None, statistics, error)


def _clean_up(driver: Driver, version_id: str, *, keep_stage: bool) -> None:
    """Take a rejected version out of the stores now, if they can be reached; else the next run's retire does it."""
    try:
        publishing.erase(driver, driver.catalog.versions.get(version_id), keep_stage=keep_stage)
    except MillraceError as error:
        driver.observer.note(f"the next run will clear away what this one has loaded: {error.message}")


def collect_statistics(record: RunRecord, session_s: float, seconds: float) -> RunStatistics:
    """The statistics of a run from what its finished steps left in the catalog."""
    stats = {s.name: dict(s.stats) for s in record.steps if s.stats}
    times = {name: float(s.pop("seconds", 0.0)) for name, s in stats.items()}
    source = stats.get("stage", {})
    targets = {name.removeprefix("load:"): s for name, s in stats.items() if name.startswith("load:")}
    return RunStatistics(
        SourceStatistics(**source, seconds=times["stage"]) if source else SourceStatistics(),
        int(stats.get("check", {}).get("quarantined", 0)),
        {name: TargetStatistics(**s, seconds=times[f"load:{name}"]) for name, s in targets.items()},
        times,
        round(session_s, 3),
        round(seconds, 3),
    )
