"""What must hold between the parts of a spec: names that refer to each other, and columns that must be there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from millrace.spec import columns as flow
from millrace.spec import interval
from millrace.spec.connector import Mode, Options, connectors
from millrace.spec.diagnostics import Path, Problem, did_you_mean
from millrace.spec.model import Severity, Subject
from millrace.spec.shape.apis import ApiEntry, KvApi, SqlApi, UnionApi
from millrace.spec.shape.checks import CheckEntry
from millrace.spec.shape.fields import Choice, Part
from millrace.spec.shape.sections import (
    LimitsSection,
    ScheduleSection,
    SourceEntry,
    TargetEntry,
    TestSection,
    spec_shape,
)
from millrace.spec.shape.steps import StepEntry
from millrace.spec.types import ORDINAL, Kind


@dataclass(frozen=True)
class Sections:
    """The parts that refer to each other; None stands for an entry that is wrong in itself, at its index."""

    asset: str | None
    mode: str
    deletes: str | None
    latest_by: str | None
    schedule: ScheduleSection | None
    source: SourceEntry | None
    transform: tuple[StepEntry | None, ...]
    checks: tuple[CheckEntry | None, ...]
    targets: tuple[TargetEntry | None, ...]
    apis: tuple[ApiEntry | None, ...]
    test: TestSection | None
    limits: LimitsSection | None
    problems: tuple[Problem, ...]  # those of the entries as choices: none, several, an unknown check

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Sections:
        """What is right in itself of a spec that may be wrong elsewhere, so that all of its errors show."""
        fields = spec_shape().model_fields
        source_shape: Any = fields["source"].annotation
        target_shape: Any = fields["targets"].annotation
        problems: list[Problem] = []
        asset = data.get("asset")
        return cls(
            asset=asset if isinstance(asset, str) else None,
            mode=str(data.get("mode", Mode.REPLACE)),
            deletes=data["deletes"] if isinstance(data.get("deletes"), str) else None,
            latest_by=data["latest_by"] if isinstance(data.get("latest_by"), str) else None,
            schedule=_valid(ScheduleSection, data.get("schedule")),
            source=_entry(source_shape, data.get("source"), ("source",), problems),
            transform=_entries(StepEntry, data, "transform", problems),
            checks=_entries(CheckEntry, data, "checks", problems),
            targets=_entries(target_shape.__args__[0], data, "targets", problems),
            apis=_entries(ApiEntry, data, "apis", problems),
            test=_valid(TestSection, data.get("test") or {}),
            limits=_valid(LimitsSection, data.get("limits") or {}),
            problems=(*problems, *_templates(data)),
        )


def _templates(data: Mapping[str, Any]) -> Iterator[Problem]:
    """Values of the data interval stand in the source and the transform."""
    for section in ("source", "transform"):
        yield from interval.problems(data.get(section), (section,))


def _valid(shape: type[Part], data: Any) -> Any:
    try:
        return shape.model_validate(data)
    except ValidationError:
        return None


def _entry(shape: type[Choice], data: Any, path: Path, problems: list[Problem]) -> Any:
    found = [problem.under(*path) for problem in shape.problems(data)] if isinstance(data, dict) else []
    problems += found
    return None if found else _valid(shape, data)


def _entries(shape: type[Choice], data: Mapping[str, Any], section: str, problems: list[Problem]) -> tuple[Any, ...]:
    items = data.get(section)
    if not isinstance(items, list):
        return ()
    return tuple(_entry(shape, item, (section, index), problems) for index, item in enumerate(items))


def rule_problems(sections: Sections) -> list[Problem]:
    """Everything that is wrong between the sections, in no particular order."""
    columns, problems = _columns(sections)
    return [
        *sections.problems,
        *_target_names(sections),
        *_api_names(sections),
        *_api_targets(sections),
        *_schedule(sections),
        *_changes_only(sections),
        *_test_connections(sections),
        *_quarantine(sections),
        *problems,
        *_deletes(sections, columns),
        *_latest_by(sections, columns),
        *_modes(sections),
        *_final_columns(sections, columns),
    ]


def _target_name(entry: TargetEntry) -> str:
    return entry.name or entry.one


def _target_names(sections: Sections) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, entry in enumerate(sections.targets):
        if entry is None:
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
        if entry is None:
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
        if entry is None:
            return
        roles[_target_name(entry)] = connectors()[entry.one].target
    for index, api in enumerate(sections.apis):
        if api is None or isinstance(api.body, UnionApi):
            continue
        kind, body = api.one, api.body
        if isinstance(body, SqlApi) and body.source:
            role = connectors()[sections.source.one].source if sections.source is not None else None
            if role is not None and role.reader is None:
                yield Problem(("apis", index, kind, "source"), "this source can't be queried: leave 'source' out")
            continue
        able = [n for n, role in roles.items() if role and (role.lookups if kind == "kv" else role.queries)]
        if body.target is not None and body.target not in roles:
            message = f"unknown target '{body.target}'{did_you_mean(body.target, roles)}"
            yield Problem(("apis", index, kind, "target"), message)
        elif body.target is not None and body.target not in able:
            verb = "look up keys" if kind == "kv" else "be queried"
            yield Problem(("apis", index, kind, "target"), f"the target '{body.target}' can't {verb}")
        elif isinstance(body, KvApi) and (wrong := _kv_problem(body, roles)):
            yield Problem(("apis", index, kind, wrong[0]), wrong[1], on_key=True)
        elif not able and roles:
            verb = "look up keys" if kind == "kv" else "be queried"
            yield Problem(("apis", index, kind), f"none of the targets ({', '.join(roles)}) can {verb}", on_key=True)


def _kv_problem(body: KvApi, roles: Mapping[str, Any]) -> tuple[str, str] | None:
    """A lookup that none of the API's possible targets does."""
    found = [r.lookups for n, r in roles.items() if r and r.lookups and body.target in (None, n)][:1]
    if body.prefix and not any("prefix" in lookups for lookups in found):
        return "prefix", "the target keeps no order of keys, so that they can't be scanned by prefix"
    if body.range is not None and not any(lookups & {"range", "rows"} for lookups in found):
        return "range", "the target can't be searched by interval"
    return None


def _schedule(sections: Sections) -> Iterator[Problem]:
    after = (sections.schedule and sections.schedule.after) or ()
    for index, name in enumerate(after):
        if name == sections.asset:
            yield Problem(("schedule", "after", index), f"'{name}' can't run after itself")


def _changes_only(sections: Sections) -> Iterator[Problem]:
    source = sections.source
    option = source.options.reads_changes_by() if source is not None else None
    if source is not None and option and sections.mode == Mode.REPLACE:
        message = (
            "only what is new is read, so 'mode: replace' would drop all older rows: set 'mode: merge' or 'append'"
        )
        yield Problem(("source", source.one, option), message, on_key=True)


def _quarantine(sections: Sections) -> Iterator[Problem]:
    """Rows are set aside within a limit only."""
    if sections.limits is None or sections.limits.quarantine is not None:
        return
    for index, entry in enumerate(sections.checks):
        if entry is not None and entry.check().severity is Severity.QUARANTINE:
            message = "quarantine needs a limit: say `limits: {quarantine: {max_rows: …, max_ratio: …}}`"
            yield Problem(("checks", index, entry.one, "severity"), message)


def _test_connections(sections: Sections) -> Iterator[Problem]:
    entries = [sections.source, *sections.targets]
    if sections.test is None or any(entry is None for entry in entries):
        return
    used = {name for entry in entries if entry for name in connection_names(entry.options)}
    for name in sections.test.connections:
        if name not in used:
            message = f"no source or target of this spec uses the connection '{name}'{did_you_mean(name, sorted(used))}"
            yield Problem(("test", "connections", name), message, on_key=True)


def connection_names(options: Options) -> list[str]:
    """The connections that a connector's options name: its field `connection`, where it has one, and others."""
    name = getattr(options, "connection", None)
    return [*([name] if isinstance(name, str) else []), *options.other_connections()]


def _columns(sections: Sections) -> tuple[flow.Columns | None, list[Problem]]:
    """The columns after the transform, and what is wrong on the way. A wrong step leaves nothing known after it."""
    columns: flow.Columns | None = None
    found: list[Problem] = []
    source = sections.source
    if source is not None:
        columns = flow.source_columns(source.options)
        found += [p.under("source", source.one) for p in flow.option_problems(source.options, columns)]
    for index, entry in enumerate(sections.transform):
        if entry is None:
            columns = None
            continue
        columns, problems = flow.follow(entry.step(), columns)
        found += [problem.under("transform", index) for problem in problems]
    return columns, found


def _modes(sections: Sections) -> Iterator[Problem]:
    """Options that a target needs in this mode, or can't have in it."""
    if sections.mode not in list(Mode):
        return
    for index, target in enumerate(sections.targets):
        reason = target.options.refused_in(Mode(sections.mode)) if target is not None else None
        if target is not None and reason is not None:
            yield Problem(("targets", index, target.one), reason, on_key=True)


def _deletes(sections: Sections, columns: flow.Columns | None) -> Iterator[Problem]:
    """The column of `deletes` is there and is boolean."""
    name = sections.deletes
    if name is None:
        return
    if sections.mode != Mode.MERGE:
        yield Problem(("deletes",), f"only 'mode: merge' deletes rows, the mode is '{sections.mode}'", on_key=True)
    if columns is not None and name not in columns:
        yield Problem(("deletes",), flow.missing(name, columns))
    found = None if columns is None else columns.get(name)
    if found is not None and found.kind is not Kind.BOOLEAN:
        yield Problem(("deletes",), f"the column '{name}' is a {found}, expected a boolean")


def _latest_by(sections: Sections, columns: flow.Columns | None) -> Iterator[Problem]:
    """The column of `latest_by` is there, and its values have an order."""
    name = sections.latest_by
    if name is None:
        return
    if sections.mode != Mode.MERGE:
        message = f"only 'mode: merge' keeps the latest of several rows, the mode is '{sections.mode}'"
        yield Problem(("latest_by",), message, on_key=True)
    if columns is not None and name not in columns:
        yield Problem(("latest_by",), flow.missing(name, columns))
    found = None if columns is None else columns.get(name)
    if found is not None and found.kind not in ORDINAL:
        yield Problem(("latest_by",), f"the column '{name}' is a {found}, expected a time, a date or an integer")


def _final_columns(sections: Sections, columns: flow.Columns | None) -> Iterator[Problem]:
    stored = columns and {name: kind for name, kind in columns.items() if name != sections.deletes}
    for index, check in enumerate(sections.checks):
        if check is not None:
            found = check.check()
            seen = _source_columns(sections) if found.on is Subject.SOURCE else columns
            yield from (p.under("checks", index) for p in flow.check_problems(found, seen))
    for index, target in enumerate(sections.targets):
        if target is not None:
            problems = flow.option_problems(target.options, stored)
            yield from (p.under("targets", index, target.one) for p in problems)
    for index, api in enumerate(sections.apis):
        if api is not None:
            yield from (p.under("apis", index, api.one) for p in _api_columns(api.body, stored))


def _source_columns(sections: Sections) -> flow.Columns | None:
    return None if sections.source is None else flow.source_columns(sections.source.options)


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
            yield from (p.under("queries", name) for p in flow.query_problems(query.sql, query.parameters, columns))
