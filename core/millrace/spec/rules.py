"""What must hold between the parts of a spec: names that refer to each other, and columns that must be there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from millrace.spec import columns as flow
from millrace.spec.connector import connectors
from millrace.spec.diagnostics import Problem, did_you_mean
from millrace.spec.shape.apis import ApiEntry, KvApi, SqlApi, UnionApi
from millrace.spec.shape.checks import CheckEntry
from millrace.spec.shape.fields import Choice
from millrace.spec.shape.sections import ScheduleSection, SourceEntry, SpecShape, TargetEntry, TestSection, spec_shape
from millrace.spec.shape.steps import StepEntry

Entry = TypeVar("Entry", bound=BaseModel)


@dataclass(frozen=True)
class Sections:
    """The parts that refer to each other; None stands for an entry that is wrong in itself, at its index."""

    asset: str | None
    schedule: ScheduleSection | None
    source: SourceEntry | None
    transform: tuple[StepEntry | None, ...]
    checks: tuple[CheckEntry | None, ...]
    targets: tuple[TargetEntry | None, ...]
    apis: tuple[ApiEntry | None, ...]
    test: TestSection | None

    @classmethod
    def of(cls, shape: SpecShape) -> Sections:
        whole: Any = shape  # `source` and `targets` have the classes that `spec_shape` made
        return cls(
            asset=shape.asset,
            schedule=shape.schedule,
            source=whole.source,
            transform=shape.transform or (),
            checks=shape.checks or (),
            targets=whole.targets,
            apis=shape.apis or (),
            test=shape.test,
        )

    @classmethod
    def salvaged(cls, data: Mapping[str, Any]) -> Sections:
        """What is right in itself of a spec that is wrong elsewhere, so that its other errors show too."""
        fields = spec_shape().model_fields
        source: type[SourceEntry] = fields["source"].annotation  # type: ignore[assignment]  # made by create_model
        target: type[TargetEntry] = fields["targets"].annotation.__args__[0]  # type: ignore[union-attr]  # tuple[target, ...]
        asset, schedule = data.get("asset"), data.get("schedule")
        return cls(
            asset=asset if isinstance(asset, str) else None,
            schedule=_valid(ScheduleSection, schedule),
            source=_valid(source, data.get("source")),
            transform=_entries(StepEntry, data.get("transform")),
            checks=_entries(CheckEntry, data.get("checks")),
            targets=_entries(target, data.get("targets")),
            apis=_entries(ApiEntry, data.get("apis")),
            test=_valid(TestSection, data.get("test") or {}),
        )


def _valid(shape: type[Entry], data: Any) -> Entry | None:
    try:
        return shape.model_validate(data)
    except ValidationError:
        return None


def _entries(shape: type[Entry], data: Any) -> tuple[Entry | None, ...]:
    return tuple(_valid(shape, item) for item in data) if isinstance(data, list) else ()


def rule_problems(sections: Sections) -> list[Problem]:
    """Everything that is wrong between the sections, in no particular order."""
    found = [
        *_choices(sections),
        *_target_names(sections),
        *_api_names(sections),
        *_api_targets(sections),
        *_schedule(sections),
        *_test_connections(sections),
    ]
    columns, problems = _columns(sections)
    found += problems
    found += _final_columns(sections, columns)
    return found


def _one(entry: Choice | None) -> bool:
    return entry is not None and not list(entry.problems())


def _choices(sections: Sections) -> Iterator[Problem]:
    lists: Mapping[str, Iterable[Choice | None]] = {
        "transform": sections.transform,
        "checks": sections.checks,
        "targets": sections.targets,
        "apis": sections.apis,
    }
    if sections.source is not None:
        yield from (problem.under("source") for problem in sections.source.problems())
    for name, entries in lists.items():
        for index, entry in enumerate(entries):
            if entry is not None:
                yield from (problem.under(name, index) for problem in entry.problems())


def _target_name(entry: TargetEntry) -> str:
    return entry.name or entry.one


def _target_names(sections: Sections) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, entry in enumerate(sections.targets):
        if entry is None or not _one(entry):
            continue
        name = _target_name(entry)
        if name in first:
            hint = "" if entry.name else ": give one of them a 'name' beside it"
            message = f"duplicate target name '{name}', first in targets[{first[name]}]{hint}"
            yield Problem(("targets", index, "name" if entry.name else entry.one), message, on_key=not entry.name)
        first.setdefault(name, index)


def _api_names(sections: Sections) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, entry in enumerate(sections.apis):
        if entry is None or not _one(entry):
            continue
        name = entry.body.name
        if name in first:
            message = f"duplicate API name '{name}', first in apis[{first[name]}]"
            yield Problem(("apis", index, entry.one, "name"), message)
        first.setdefault(name, index)


def _api_targets(sections: Sections) -> Iterator[Problem]:
    """The target that an API names exists, and some target can answer it. Nothing is said of half-valid targets."""
    roles = {}
    for entry in sections.targets:
        if entry is None or not _one(entry):
            return
        roles[_target_name(entry)] = connectors()[entry.one].target
    for index, api in enumerate(sections.apis):
        if api is None or not _one(api) or isinstance(api.body, UnionApi):
            continue
        kind, body = api.one, api.body
        able = [n for n, role in roles.items() if role and (role.lookups if kind == "kv" else role.queries)]
        if body.target is not None and body.target not in roles:
            message = f"unknown target '{body.target}'{did_you_mean(body.target, roles)}"
            yield Problem(("apis", index, kind, "target"), message)
        elif body.target is not None and body.target not in able:
            verb = "look up keys" if kind == "kv" else "be queried"
            yield Problem(("apis", index, kind, "target"), f"the target '{body.target}' can't {verb}")
        elif not able and roles:
            verb = "look up keys" if kind == "kv" else "be queried"
            yield Problem(("apis", index, kind), f"none of the targets ({', '.join(roles)}) can {verb}", on_key=True)


def _schedule(sections: Sections) -> Iterator[Problem]:
    after = (sections.schedule and sections.schedule.after) or ()
    for index, name in enumerate(after):
        if name == sections.asset:
            yield Problem(("schedule", "after", index), f"'{name}' can't run after itself")


def _test_connections(sections: Sections) -> Iterator[Problem]:
    entries = [sections.source, *sections.targets]
    if sections.test is None or any(entry is None or not _one(entry) for entry in entries):
        return
    used = {name for entry in entries if entry for name in connection_names(entry.options)}
    for name in sections.test.connections:
        if name not in used:
            message = f"no source or target of this spec uses the connection '{name}'{did_you_mean(name, sorted(used))}"
            yield Problem(("test", "connections", name), message, on_key=True)


def connection_names(options: BaseModel) -> list[str]:
    """The connections that a connector's options name: its field `connection`, where it has one."""
    name = getattr(options, "connection", None)
    return [name] if isinstance(name, str) else []


def _columns(sections: Sections) -> tuple[flow.Columns | None, list[Problem]]:
    """The columns after the transform, and what is wrong on the way. A wrong step leaves nothing known after it."""
    columns: flow.Columns | None = None
    found: list[Problem] = []
    source = sections.source
    if source is not None and _one(source):
        columns = flow.source_columns(source.options)
        found += [p.under("source", source.one) for p in flow.option_problems(source.options, columns)]
    for index, entry in enumerate(sections.transform):
        if entry is None or not _one(entry):
            columns = None
            continue
        columns, problems = flow.follow(entry.step(), columns)
        found += [problem.under("transform", index) for problem in problems]
    return columns, found


def _final_columns(sections: Sections, columns: flow.Columns | None) -> Iterator[Problem]:
    for index, check in enumerate(sections.checks):
        if check is not None and _one(check):
            yield from (p.under("checks", index) for p in flow.check_problems(check.check(), columns))
    for index, target in enumerate(sections.targets):
        if target is not None and _one(target):
            problems = flow.option_problems(target.options, columns)
            yield from (p.under("targets", index, target.one) for p in problems)
    for index, api in enumerate(sections.apis):
        if api is not None and _one(api):
            yield from (p.under("apis", index, api.one) for p in _api_columns(api.body, columns))


def _api_columns(body: KvApi | SqlApi | UnionApi, columns: flow.Columns | None) -> Iterator[Problem]:
    if isinstance(body, UnionApi):
        return
    yield from flow.absent(columns, body.columns or (), "columns")
    if isinstance(body, KvApi) and body.range is not None and columns is not None:
        for key, name in (("start", body.range.start), ("end", body.range.end)):
            if name not in columns:
                yield Problem(("range", key), flow.missing(name, columns))
    if isinstance(body, SqlApi):
        for name, query in body.queries.items():
            yield from (p.under("queries", name) for p in flow.query_problems(query.sql, columns))
