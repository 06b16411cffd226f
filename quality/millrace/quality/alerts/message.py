"""An alert in words and as JSON. Pure; every text is cut to a size that any destination takes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from millrace.catalog import IncidentRecord
from millrace.catalog.json_text import plain
from millrace.quality.alerts.happening import CheckFinding, Happening
from millrace.spec.model import AlertEvent, Severity

MAX_CHECKS = 10
MAX_ROWS = 3
MAX_ROW = 300  # characters
MAX_TEXT = 2_000
_SUBJECT = 150
TEST = "test"
_NOTES = {Severity.WARN.value: " (a warning)", Severity.QUARANTINE.value: " (its rows are set aside)"}


@dataclass(frozen=True)
class Message:
    """What a notifier sends: one line, the whole text, and the same as JSON.

    `key` is equal for the messages of one incident, and `ends` the keys of the incidents that a recovery has ended.
    """

    event: str
    asset: str
    key: str
    subject: str
    text: str
    data: Mapping[str, Any]
    ends: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "ends": list(self.ends)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(**{**data, "ends": tuple(data["ends"])})


def compose(happening: Happening, key: str, incident: IncidentRecord | None = None) -> Message:
    """The message of a happening; `incident` tells how often it was seen, and since when."""
    subject = subject_of(happening)
    data: dict[str, Any] = {
        "event": happening.event.value,
        "asset": happening.asset,
        "owner": happening.owner,
        "run": happening.run_id,
        "at": _time(happening.at),
        "incident": key,
        "seen": incident.seen if incident else 1,
        "first_seen": _time(incident.opened_at) if incident else _time(happening.at),
        "serving": happening.serving,
        "subject": subject,
        "links": dict(happening.links),
    }
    if happening.failure is not None:
        failure = happening.failure
        data["failure"] = {"step": failure.step, "kind": failure.kind, "message": cut(failure.message),
                           "hint": cut(failure.hint)}  # fmt: skip
    if happening.checks:
        data["checks"] = [_check(found) for found in happening.checks[:MAX_CHECKS]]
    if happening.due is not None:
        data["due"] = _time(happening.due)
        data["last_publish"] = _time(happening.since) if happening.since else None
    if happening.over:
        data["over"] = [
            {"event": i.event, "title": i.title, "seen": i.seen, "first_seen": _time(i.opened_at)}
            for i in happening.over
        ]
    text = "\n".join([subject, "", *_lines(happening, incident)])
    ends = tuple(found.key for found in happening.over)
    return Message(happening.event.value, happening.asset, key, subject, text, plain(data), ends)


def test_message(destination: str, at: datetime) -> Message:
    """A message of no asset, for trying a destination."""
    subject = one_line(f"this is a test of the destination '{destination}': nothing has happened", _SUBJECT)
    data = {"event": TEST, "asset": "", "at": _time(at), "subject": subject, "links": {}}
    return Message(TEST, "millrace", TEST, subject, subject, data)


def subject_of(happening: Happening) -> str:
    """What happened, on one line."""
    return one_line(f"{happening.asset}: {_what(happening)}", _SUBJECT)


def one_line(text: str, longest: int) -> str:
    """Text of any origin on one line, without control characters."""
    return cut(" ".join("".join(c if c.isprintable() else " " for c in text).split()), longest)


def cut(text: str, longest: int = MAX_TEXT) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _what(happening: Happening) -> str:
    names = [found.check.partition(":")[0] for found in happening.checks]
    count = len(names)
    match happening.event:
        case AlertEvent.CHECK_FAILED:
            return f"{_checks(count)} refused the data ({', '.join(dict.fromkeys(names))})"
        case AlertEvent.CHECK_WARNED:
            return f"published with {_checks(count)} warning ({', '.join(dict.fromkeys(names))})"
        case AlertEvent.RUN_FAILED:
            failure = happening.failure
            return f"the run failed in {failure.step} ({failure.kind})" if failure else "the run failed"
        case AlertEvent.LATE:
            return f"late, not published since {_time(happening.since)}" if happening.since else "late, never published"
        case AlertEvent.RECOVERED:
            return f"recovered, version {happening.serving} is published"


def _checks(count: int) -> str:
    return "1 check" if count == 1 else f"{count} checks"


def _lines(happening: Happening, incident: IncidentRecord | None) -> Iterator[str]:
    failure = happening.failure
    if failure is not None and not happening.checks:
        yield cut(failure.message)
    for found in happening.checks[:MAX_CHECKS]:
        yield from _check_lines(found)
    if len(happening.checks) > MAX_CHECKS:
        yield f"… and {len(happening.checks) - MAX_CHECKS} more"
    for ended in happening.over:
        times = "once" if ended.seen == 1 else f"{ended.seen} times"
        yield f"over: {ended.title} ({times} since {_time(ended.opened_at)})"
    if happening.due is not None:
        yield f"it should have been published by {_time(happening.due)}"
    yield f"readers have version {happening.serving}" if happening.serving else "nothing is published yet"
    if failure is not None and failure.hint:
        yield f"what to do: {cut(failure.hint)}"
    if incident is not None and incident.seen > 1:
        yield f"seen {incident.seen} times since {_time(incident.opened_at)}"
    if happening.run_id:
        yield f"run {happening.run_id} at {_time(happening.at)}"
    if happening.owner:
        yield f"owner: {happening.owner}"
    yield from (f"{name}: {url}" for name, url in happening.links.items())


def _check_lines(found: CheckFinding) -> Iterator[str]:
    yield cut(f"✗ {found.check}" + _NOTES.get(found.severity, ""))
    if found.error is not None:
        yield cut(f"    could not be evaluated: {found.error}")
    if found.observed is not None or found.error is None:
        yield cut(f"    observed: {_json(found.observed)}")
    yield cut(f"    expected: {_json(found.expected)}")
    yield from (f"    e.g. {row}" for row in _sample(found))


def _check(found: CheckFinding) -> dict[str, Any]:
    return {
        "check": cut(found.check),
        "severity": found.severity,
        "observed": _small(found.observed),
        "expected": _small(found.expected),
        "sample": [_small(row, MAX_ROW) for row in found.sample[:MAX_ROWS]],
        "error": None if found.error is None else cut(found.error),
    }


def _small(value: Any, longest: int = MAX_TEXT) -> Any:
    """The value, or its text cut off when it is too large."""
    text = _json(value)
    return value if len(text) <= longest else cut(text, longest)


def _sample(found: CheckFinding) -> list[str]:
    return [cut(_json(row), MAX_ROW) for row in found.sample[:MAX_ROWS]]


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False)


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
