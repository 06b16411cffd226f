"""Which Great Expectations expectations there are, as data: names and arguments, without importing that library.

`expectations.json` is written by `scripts/expectations` from the release that is pinned; a test compares the two.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from millrace.spec.diagnostics import Problem, closest, did_you_mean

COLUMN_ARGUMENTS = ("column", "column_A", "column_B", "column_list")
"""Arguments that name columns which must be there. (`column_set` may name columns that are only allowed.)"""


@dataclass(frozen=True)
class Signature:
    required: tuple[str, ...]
    optional: tuple[str, ...]

    @property
    def arguments(self) -> tuple[str, ...]:
        return self.required + self.optional


@cache
def expectations() -> Mapping[str, Signature]:
    """Every expectation of Great Expectations' core by its snake_case name."""
    found = json.loads(files("millrace.spec").joinpath("expectations.json").read_text(encoding="utf-8"))
    return {name: Signature(tuple(s["required"]), tuple(s["optional"])) for name, s in found.items()}


def problems(name: str, arguments: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong with the arguments of a known expectation; paths are relative to the check's entry."""
    signature = expectations()[name]
    for key in arguments:
        if key == "severity":
            yield Problem((name, key), "'severity' stands beside the check's name, not in its arguments", on_key=True)
        elif key not in signature.arguments:
            message = f"unknown argument '{key}' of {name}{did_you_mean(key, signature.arguments)}"
            yield Problem((name, key), message, on_key=True)
    for key in signature.required:
        if key not in arguments:
            yield Problem((name,), f"missing required argument '{key}' of {name}", on_key=True)


def unknown(name: str, builtin: list[str]) -> str:
    """The message for a check that doesn't exist, with the closest one that does."""
    found = closest(name, [*builtin, *expectations()])
    if found is not None:
        return f"unknown check '{name}', did you mean '{found}'?"
    return (
        f"unknown check '{name}', expected one of {', '.join(builtin)}, or a Great Expectations expectation "
        "by its name (expect_…)"
    )
