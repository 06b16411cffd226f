"""Which Great Expectations expectations there are, as data: names and arguments, without importing that library.

`expectations.json` is written by `scripts/expectations` from the release that is pinned; a test compares the two.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from millrace.spec.diagnostics import Problem, closest, did_you_mean, shown
from millrace.spec.model import Severity, Subject

COLUMN_ARGUMENTS = ("column", "column_A", "column_B", "column_list")
"""Arguments that name columns which must be there. (`column_set` may name columns that are only allowed.)"""


_NOT_WITH_QUARANTINE = ("mostly", "row_condition")


@dataclass(frozen=True)
class Signature:
    required: tuple[str, ...]
    optional: tuple[str, ...]

    @property
    def arguments(self) -> tuple[str, ...]:
        return self.required + self.optional

    @property
    def of_rows(self) -> bool:
        """Whether single rows pass or fail it."""
        return "mostly" in self.optional


@cache
def expectations() -> Mapping[str, Signature]:
    """Every expectation of Great Expectations' core by its snake_case name."""
    found = json.loads(files("millrace.spec").joinpath("expectations.json").read_text(encoding="utf-8"))
    return {name: Signature(tuple(s["required"]), tuple(s["optional"])) for name, s in found.items()}


def expectation_problems(name: str, arguments: Any, builtin: Sequence[str]) -> Iterator[Problem]:
    """What is wrong with a check that is none of the builtin ones; paths are relative to the check's entry."""
    signature = expectations().get(name)
    if signature is None:
        yield Problem((name,), _unknown(name, builtin), on_key=True)
        return
    if not isinstance(arguments, dict):
        yield Problem((name,), f"expected a mapping with the arguments of {name}: {', '.join(signature.arguments)}")
        return
    for key in arguments:
        if key not in (*signature.arguments, "severity", "on"):
            message = f"unknown argument '{shown(key)}' of {name}{did_you_mean(key, signature.arguments)}"
            yield Problem((name, key), message, on_key=True)
    yield from _severity_problems(name, arguments, signature)
    for key in signature.required:
        if key not in arguments:
            yield Problem((name,), f"missing required argument '{key}' of {name}", on_key=True)


def _severity_problems(name: str, arguments: Mapping[str, Any], signature: Signature) -> Iterator[Problem]:
    severity = arguments.get("severity", Severity.BLOCK)
    if severity not in tuple(Severity):
        yield Problem((name, "severity"), f"expected block, warn, quarantine, got '{shown(str(severity))}'")
    subject = arguments.get("on", Subject.STAGE)
    if subject not in tuple(Subject):
        yield Problem((name, "on"), f"expected stage or source, got '{shown(str(subject))}'")
    if severity != Severity.QUARANTINE:
        return
    if not signature.of_rows:
        yield Problem((name, "severity"), f"{name} is of all rows together, so there are none to quarantine")
    if subject == Subject.SOURCE:
        yield Problem((name, "on"), "only rows of the stage can be quarantined, not those of the source")
    for key in _NOT_WITH_QUARANTINE:
        if key in arguments:
            yield Problem((name, key), f"'{key}' can't stand beside 'severity: quarantine'", on_key=True)


def _unknown(name: str, builtin: Sequence[str]) -> str:
    found = closest(name, [*builtin, *expectations()])
    if found is not None:
        return f"unknown check '{shown(name)}', did you mean '{found}'?"
    names = ", ".join(builtin)
    return f"unknown check '{shown(name)}', expected one of {names}, or a Great Expectations expectation (expect_…)"
