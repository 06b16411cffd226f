"""Spec texts for tests, and their errors as lines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from millrace.errors import SpecError
from millrace.spec import Spec, parse_spec
from millrace.spec.diagnostics import Diagnostic

SOURCE = """\
source:
  kafka: {connection: events, topic: plays, schema: {id: bigint, name: string, age: int, at: timestamp}}
"""
TARGETS = 'targets:\n  - redis: {connection: online, key: "{id}"}\n'
HEAD = "version: 1\nasset: plays\n"
MINIMAL = HEAD + SOURCE + TARGETS

DESIGN = (Path(__file__).parent / "design.yaml").read_text(encoding="utf-8")


def loaded(text: str | bytes, env: Mapping[str, str] | None = None) -> Spec:
    return parse_spec(text, "user.yaml", env or {})


def diagnostics(text: str | bytes, env: Mapping[str, str] | None = None) -> tuple[Diagnostic, ...]:
    """All errors of a text; none when it is a valid spec."""
    try:
        loaded(text, env)
    except SpecError as error:
        return error.diagnostics
    return ()


def errors(text: str | bytes, env: Mapping[str, str] | None = None) -> list[str]:
    """The errors as `line:column: message`."""
    return [str(d).removeprefix("user.yaml:") for d in diagnostics(text, env)]


def with_section(section: str) -> str:
    """A valid spec with one more section, which starts at line 7."""
    return MINIMAL + section
