"""Every `Case` there is, and the table in the docs that says what each connector does of what its suite asks."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.conformance.gap import Case, Gap, Kind
from tests.conformance.source import SourceCase
from tests.conformance.target import TargetCase
from tests.conformance.values import VALUES


def cases(suite: type) -> Sequence[type[Case]]:
    """The cases that inherit a suite, in the order of their connectors' names."""
    found: dict[str, type[Case]] = {}
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        module = importlib.import_module(f"tests.conformance.{path.stem}")
        for case in vars(module).values():
            if (
                inspect.isclass(case)
                and issubclass(case, Case)
                and issubclass(case, suite)
                and case.__module__ == module.__name__
            ):
                found[case.connector] = case
    return [found[name] for name in sorted(found)]


def behaviours(suite: type) -> Iterator[tuple[type, Sequence[str]]]:
    """The parts of a suite, each with the names of its tests in the order in which they are written."""
    for part in suite.__mro__:
        names = [name for name in vars(part) if name.startswith("test_")]
        if names:
            yield part, names


def support_reference() -> str:
    """The generated part of `docs/connectors.md` about conformance."""
    parts = [
        "## What the tests show",
        "Each line is a test that every connector runs on a real system (`tests/conformance/`). Where it says more "
        "than yes, the test fails there, which is tested too, and the number leads to the reason: `never`, because of "
        "what the system is; `upstream`, because it would have to change first; `todo`, because it isn't done yet.",
    ]
    for title, suite in (("Targets", TargetCase), ("Sources", SourceCase)):
        parts += [f"### {title}", *_suite(suite)]
    return "\n\n".join(parts) + "\n"


def _suite(suite: type) -> Iterator[str]:
    found = cases(suite)
    notes: dict[str, int] = {}
    for part, names in behaviours(suite):
        yield (inspect.getdoc(part) or "").partition("\n")[0]
        head = ["", *(f"`{case.connector}`" for case in found)]
        rows = [[_sentence(name), *(_cell(case.gaps, name, notes) for case in found)] for name in names]
        lines = ["| " + " | ".join(row) + " |" for row in (head, *rows)]
        yield "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])
    if notes:
        yield "\n".join(f"{number}. {text}" for text, number in notes.items())


def _sentence(name: str) -> str:
    return name.removeprefix("test_").replace("_", " ")


def _cell(gaps: Mapping[str, Gap], name: str, notes: dict[str, int]) -> str:
    """`yes`, or the gaps' kinds with the numbers of their notes."""
    parts: dict[Gap, list[str]] = {}
    for key, gap in gaps.items():
        test, _, parameter = key.partition("[")
        if test == name:
            parts.setdefault(gap, []).append(parameter.removesuffix("]"))
    notes_of: dict[str, list[str]] = {kind: [] for kind in ("yes, but for", *Kind)}
    for gap, parameters in parts.items():
        some = _by_type([parameter for parameter in parameters if parameter])
        text = f"`{gap.kind}`: {gap.reason}" + (f" ({'; '.join(some)})" if some else "")
        notes_of["yes, but for" if some else gap.kind].append(f"[{notes.setdefault(text, len(notes) + 1)}]")
    return ", ".join(f"{word} {' '.join(numbers)}" for word, numbers in notes_of.items() if numbers) or "yes"


def _by_type(parameters: Sequence[str]) -> list[str]:
    """Parameters by name; of values, those of one type together, and a type of which all are meant by its name."""
    found: dict[str, list[str]] = {}
    for parameter in parameters:
        type_, _, what = parameter.partition(": ")
        found.setdefault(type_, []).append(what)
    whole = {type_ for type_, whats in found.items() if set(whats) == {*VALUES.get(type_, ()), "null"}}
    return [
        type_ if type_ in whole or whats == [""] else f"{type_}: {', '.join(whats)}" for type_, whats in found.items()
    ]
