"""A result as a line for a person: the command, alerts and errors use the same words."""

from __future__ import annotations

import json
from collections.abc import Mapping

from millrace.quality.results import CheckResult
from millrace.quality.wording import share
from millrace.spec.model import JsonValue, Severity

_MAX_SAMPLE = 240
_FAILED: Mapping[str, tuple[str, str]] = {
    "not_null": ("is null", "are null"),
    "unique": ("repeats a value", "repeat a value"),
    "between": ("lies outside", "lie outside"),
    "sql": ("is given by the query", "are given by the query"),
    "in_set": ("has another value", "have another value"),
}
_NOTES = {Severity.WARN: " (a warning)", Severity.QUARANTINE: " (to be set aside)"}
_OTHERWISE = ("is not as expected", "are not as expected")


def explain(result: CheckResult) -> str:
    """One line, e.g. `unique: id — 3 of 1,000 rows (0.3 %) repeat a value; e.g. {"id": 7, "city": "berlin"}`."""
    note = "" if result.passed else _NOTES.get(result.severity, "")
    return f"{result.check}{note} — {_verdict(result)}"


def _verdict(result: CheckResult) -> str:
    if result.unexpected_count is not None:
        return _rows(result) + (f"; {result.error}" if result.error is not None else "")
    if result.error is not None:
        return f"could not be evaluated: {result.error}"
    observed = f"{_shown(result.observed)} " if result.observed is not None else ""
    if result.passed:
        free = f" ({result.expected})" if result.measure and result.expected.startswith("anything") else ""
        return f"passed{f' with {observed.strip()}' if observed else ''}{free}"
    sample = f"; e.g. {_shown(dict(result.samples[0]))}" if result.samples else ""
    expected = f", expected {result.expected}" if result.expected else ""
    return f"found {observed.strip() or 'otherwise'}{expected}{sample}"


def _rows(result: CheckResult) -> str:
    count = result.unexpected_count or 0
    if result.passed and not count:
        return "passed"
    words = _FAILED.get(result.kind, _OTHERWISE)[count != 1]
    rows = result.observed.get("rows") if isinstance(result.observed, dict) else None
    of = f" of {rows:,}" if isinstance(rows, int) else ""
    ratio = f" ({share(result.unexpected_ratio)})" if result.unexpected_ratio is not None else ""
    text = f"{count:,}{of} row{'s' if (rows if isinstance(rows, int) else count) != 1 else ''}{ratio} {words}"
    if result.passed:
        return f"passed, though {text}"
    sample = f"; e.g. {_shown(dict(result.samples[0]))}" if result.samples else ""
    return text + sample


def _shown(value: JsonValue) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_SAMPLE else text[:_MAX_SAMPLE] + "…"
