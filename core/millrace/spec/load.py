"""From a spec's file to a `Spec`, or to all of its errors at once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from millrace.errors import SpecError
from millrace.spec import diagnostics, model
from millrace.spec.diagnostics import Diagnostic, Problem
from millrace.spec.document import MAX_BYTES, Document, Unreadable, read_document
from millrace.spec.messages import described, problems
from millrace.spec.rules import Sections, rule_problems
from millrace.spec.shape.sections import SpecShape, TargetEntry, spec_shape

_SHOWN = 100  # errors that the exception's message lists; its `diagnostics` are all of them


def load_spec(path: str | os.PathLike[str], env: Mapping[str, str] | None = None) -> model.Spec:
    """Read and check one spec; `env` (`os.environ` by default) fills in `${VAR}`.

    Nothing is connected to and nothing is written. Raises SpecError; its `diagnostics` are all errors of the file, in
    the order of their places. A file that can't be read is a SpecError without diagnostics.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SpecError(f"reading the spec {path}: {reason}", hint="`millrace init` writes a starter spec") from None
    return parse_spec(content, path, env)


def parse_spec(
    content: bytes | str, path: str | os.PathLike[str] = "spec.yaml", env: Mapping[str, str] | None = None
) -> model.Spec:
    """Like `load_spec`, of a text at hand; `path` is for messages."""
    name = os.fspath(path)
    try:
        document = read_document(content, name, os.environ if env is None else env)
    except Unreadable as error:
        raise _failed(name, (error.diagnostic,)) from None
    if not isinstance(document.data, dict):
        raise _failed(name, document.diagnostics([*document.problems, _no_mapping(document)]))
    sections = Sections.of(document.data)
    shape, found = _validate(document, sections)
    if shape is None or found:
        raise _failed(name, document.diagnostics(found))
    return _spec(shape, sections, Path(name), document.text)


def _failed(name: str, found: tuple[Diagnostic, ...]) -> SpecError:
    count = "1 error" if len(found) == 1 else f"{len(found)} errors"
    more = f"\n… and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    message = f"the spec {name} has {count}\n{diagnostics.summary(found[:_SHOWN])}{more}"
    return SpecError(message, diagnostics=found)


def _no_mapping(document: Document) -> Problem:
    got = "an empty file" if document.data is None else described(document.data)
    return Problem((), f"expected a mapping with 'version', 'asset', 'source' and 'targets', got {got}")


def _validate(document: Document, sections: Sections) -> tuple[SpecShape | None, list[Problem]]:
    """The validated shape and what is wrong. What follows from an unreadable value alone is left out."""
    shape = None
    found: list[Problem] = []
    try:
        shape = spec_shape().model_validate(document.data)
    except ValidationError as error:
        found = problems(error, spec_shape(), document)
    found += rule_problems(sections)
    unreadable = {problem.path for problem in document.problems if not problem.on_key}
    kept = [p for p in found if not any(p.path[:depth] in unreadable for depth in range(len(p.path) + 1))]
    return shape, document.problems + kept


def _spec(shape: SpecShape, sections: Sections, path: Path, text: str) -> model.Spec:
    """The spec's values; there are no problems, so every entry of `sections` is there."""
    schedule = shape.schedule
    return model.Spec(
        version=shape.version,
        asset=shape.asset,
        owner=shape.owner,
        description=shape.description,
        business_line=shape.business_line,
        priority=shape.priority,
        schedule=None
        if schedule is None
        else model.Schedule(schedule.cron, schedule.after or (), schedule.timezone, schedule.start, schedule.catch_up),
        source=_source(sections),
        targets=tuple(_target(entry) for entry in sections.targets if entry is not None),
        transform=tuple(entry.step() for entry in sections.transform if entry is not None),
        checks=tuple(entry.check() for entry in sections.checks if entry is not None),
        mode=shape.mode,
        deletes=shape.deletes,
        latest_by=shape.latest_by,
        limits=shape.limits.limits(),
        alerts=tuple(model.Alert(alert.on, alert.to, alert.late_after) for alert in shape.alerts or ()),
        versions=model.Versions(shape.versions.keep),
        apis=tuple(entry.api() for entry in sections.apis if entry is not None),
        test=model.TestEnvironment(dict(shape.test.connections)),
        path=path,
        text=text,
        digest=hashlib.sha256(text.encode()).hexdigest(),
    )


def _source(sections: Sections) -> model.SourceEntry:
    source: Any = sections.source
    return model.SourceEntry(source.one, source.options)


def _target(entry: TargetEntry) -> model.TargetEntry:
    return model.TargetEntry(entry.name or entry.one, entry.one, entry.options)
