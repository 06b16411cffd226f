"""Druid's ingestion tasks: submitted, waited for, ended; and what they have loaded waited for until it is queryable.

https://druid.apache.org/docs/33.0.0/api-reference/tasks-api
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from millrace.connectors.druid.link import Link
from millrace.errors import TargetError, TransientError

_TASK = "/druid/indexer/v1/task"
_ETERNITY = "-146136543-09-08T08:23:32.096Z/146140482-04-24T15:36:27.903Z"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 0.3
_PATIENCE_S = 60.0
_SHOWN_CHARACTERS = 800


def run(link: Link, doing: str, task: Mapping[str, Any]) -> None:
    """Submit a task and wait for its end. When this is interrupted, or Druid is away for a minute, the task is ended.

    Raises TargetError for rows or a spec that Druid refuses, TransientError when it may go well the next time.
    """
    link.post(doing, _TASK, task)
    try:
        status = _end(link, doing, task["id"])
    except BaseException:
        _shutdown_if_possible(link, doing, task["id"])
        raise
    if status["status"] == "SUCCESS":
        return
    unreadable = _unparseable(link, doing, task["id"])
    text = str(status.get("errorMsg") or "it doesn't say why")[:_SHOWN_CHARACTERS]
    what = f"{doing} in {link.endpoint}: Druid's task {task['id']} failed: {text}"
    if unreadable:
        raise TargetError(f"{what}: {unreadable}", hint="set such rows aside in the transform, or choose another type")
    raise TransientError(what, hint=f"see the task's log in Druid's console, or {_TASK}/{task['id']}/log")


def end_all(link: Link, doing: str, datasource: str) -> None:
    """End what is under way for a datasource, such as a load whose run has died; returns when it has ended."""
    for state in ("running", "pending", "waiting"):
        for task in _listed(link, doing, datasource, state):
            link.post(doing, f"{_TASK}/{quote(task['id'], safe='')}/shutdown", {})
    wait(
        lambda: not any(_listed(link, doing, datasource, state) for state in ("running", "pending", "waiting")),
        f"{doing} in {link.endpoint}: tasks for the datasource '{datasource}' don't end",
        link.endpoint.timeout_s,
    )


def remove(link: Link, doing: str, datasource: str) -> None:
    """Take all segments of a datasource away from readers, and have Druid delete them. No error when there are none."""
    name = quote(datasource, safe="")
    if link.get(doing, f"/druid/coordinator/v1/metadata/datasources/{name}") is None:
        return
    link.delete(doing, f"/druid/coordinator/v1/datasources/{name}")
    kill = {"type": "kill", "dataSource": datasource, "interval": _ETERNITY}
    link.post(doing, _TASK, kill)


def mark_unused(link: Link, doing: str, datasource: str, which: Mapping[str, Any]) -> None:
    """Take segments away from readers, in one step: those of an `interval`, or those that `segmentIds` names."""
    link.post(doing, f"/druid/coordinator/v1/datasources/{quote(datasource, safe='')}/markUnused", which)


def wait_until_loaded(link: Link, doing: str, datasource: str, interval: str = _ETERNITY) -> None:
    """Wait until historicals serve all segments of an interval. Raises TransientError when that takes too long."""
    path = f"/druid/coordinator/v1/datasources/{quote(datasource, safe='')}/loadstatus"
    query = f"?forceMetadataRefresh=true&interval={quote(interval, safe='')}"

    def loaded() -> bool:
        found = link.get(doing, path + query)
        return isinstance(found, Mapping) and float(found.get(datasource, 0)) >= 100

    wait(
        loaded,
        f"{doing} in {link.endpoint}: Druid has taken the rows in, but its historicals don't serve them",
        link.endpoint.timeout_s,
        hint="have they room left, and do the retention rules let them load this interval?",
    )


def wait(condition: Callable[[], bool], failure: str, timeout_s: float, hint: str = "") -> None:
    """Ask until it holds. Raises TransientError with `failure` after so long."""
    deadline, pause = time.monotonic() + timeout_s, _FIRST_PAUSE_S
    while not condition():
        if time.monotonic() > deadline:
            raise TransientError(f"{failure} after {timeout_s:g} s", hint=hint or "see the log of Druid's coordinator")
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE_S)


def _end(link: Link, doing: str, task: str) -> Mapping[str, Any]:
    """The status that a task ends with; an overlord that is away for less than a minute is waited for."""
    path, pause, away_since = f"{_TASK}/{quote(task, safe='')}/status", _FIRST_PAUSE_S, None
    while True:
        try:
            found = link.get(doing, path)
            away_since = None
        except TransientError:
            away_since = away_since or time.monotonic()
            if time.monotonic() - away_since > _PATIENCE_S:
                raise
            found = {"status": {"status": "RUNNING"}}
        if found is None:
            raise TransientError(
                f"{doing} in {link.endpoint}: Druid has forgotten its task {task}",
                hint="was its metadata store replaced? The load starts again",
            )
        status: Mapping[str, Any] = found["status"]
        if status["status"] in ("SUCCESS", "FAILED"):
            return status
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE_S)


def _shutdown_if_possible(link: Link, doing: str, task: str) -> None:
    try:
        link.post(doing, f"{_TASK}/{quote(task, safe='')}/shutdown", {})
    except (TransientError, TargetError):
        return  # the next `prepare` of this version ends it


def _listed(link: Link, doing: str, datasource: str, state: str) -> list[Mapping[str, Any]]:
    path = f"/druid/indexer/v1/tasks?state={state}&datasource={quote(datasource, safe='')}"
    found: list[Mapping[str, Any]] = link.get(doing, path) or []
    return [task for task in found if not str(task.get("type", "")).startswith("index_kafka")]


def _unparseable(link: Link, doing: str, task: str) -> str:
    """The first row that a task could not read, in Druid's words; empty when that was not its trouble."""
    try:
        report = link.get(doing, f"{_TASK}/{quote(task, safe='')}/reports") or {}
        payload = report.get("ingestionStatsAndErrors", {}).get("payload", {})
    except (TransientError, TargetError, ValueError):
        return ""
    events = [event for found in (payload.get("unparseableEvents") or {}).values() for event in found or ()]
    return str(events[0].get("details") if isinstance(events[0], dict) else events[0])[:400] if events else ""
