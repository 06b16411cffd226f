"""Reference pages from the models: a table of a model's keys, and the generated part of `docs/spec.md`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from millrace.spec.connector import Connector, connectors
from millrace.spec.expectations import expectations
from millrace.spec.schema import model_schema
from millrace.spec.shape.apis import (
    ApiEntry,
    ApiLimits,
    Cache,
    KeyRange,
    KvApi,
    NamedQuery,
    SqlApi,
    UnionApi,
    UnionPart,
)
from millrace.spec.shape.checks import (
    BetweenCheck,
    CheckEntry,
    ColumnsCheck,
    DriftCheck,
    FreshCheck,
    InSetCheck,
    ReconcileCheck,
    RowCountCheck,
    SqlCheck,
)
from millrace.spec.shape.sections import (
    AlertEntry,
    DirtySection,
    LimitsSection,
    QuarantineSection,
    ScheduleSection,
    SpecShape,
    TestSection,
    VersionsSection,
)
from millrace.spec.shape.steps import DedupeStep, MaskStep, StepEntry
from millrace.spec.yaml_text import flow

MARK = "<!-- From here on this page is written by scripts/docs. -->"

_WORDS: Mapping[str, str] = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "array": "list",
    "object": "mapping",
}
_PARTS: Mapping[str, tuple[type[BaseModel], ...]] = {
    "transform": (StepEntry, DedupeStep, MaskStep),
    "checks": (
        *(CheckEntry, ColumnsCheck, BetweenCheck, InSetCheck, RowCountCheck),
        *(FreshCheck, SqlCheck, DriftCheck, ReconcileCheck),
    ),
    "schedule": (ScheduleSection,),
    "limits": (LimitsSection, DirtySection, QuarantineSection),
    "alerts": (AlertEntry,),
    "versions": (VersionsSection,),
    "apis": (ApiEntry, KvApi, KeyRange, SqlApi, NamedQuery, UnionApi, UnionPart, Cache, ApiLimits),
    "test": (TestSection,),
}
_TITLES: Mapping[type[BaseModel], str] = {
    DedupeStep: "`dedupe`",
    MaskStep: "`mask`",
    ColumnsCheck: "`not_null`, `unique`",
    BetweenCheck: "`between`",
    InSetCheck: "`in_set`",
    RowCountCheck: "`row_count`",
    FreshCheck: "`fresh`",
    SqlCheck: "`sql`, of checks",
    DriftCheck: "`drift`",
    ReconcileCheck: "`reconcile`",
    DirtySection: "`limits.dirty`",
    QuarantineSection: "`limits.quarantine`",
    KvApi: "`kv`",
    KeyRange: "`kv.range`",
    SqlApi: "`sql`",
    NamedQuery: "`sql.queries`",
    UnionApi: "`union`",
    UnionPart: "`union.parts`",
    Cache: "`cache`, of every API",
    ApiLimits: "`limits`, of every API",
}


def docs_table(model: type[BaseModel]) -> str:
    """A Markdown table of a model's keys: type, default, meaning, example. Required keys come first."""
    schema = model_schema(model)
    fields = sorted(model.model_fields.items(), key=lambda item: not item[1].is_required())
    rows = [_row(field.alias or name, field, schema) for name, field in fields]
    return "\n".join(["| key | type | default | meaning | example |", "|---|---|---|---|---|", *rows])


def _row(name: str, field: FieldInfo, schema: Mapping[str, Any]) -> str:
    declared = schema["properties"][name]
    default = "required" if field.is_required() else _code(declared["default"]) if "default" in declared else ""
    example = _code(field.examples[0]) if field.examples else ""
    cells = (f"`{name}`", _type(declared, schema), default, field.description or "", example)
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _type(field: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    if "x-type" in field:
        return str(field["x-type"])
    if "$ref" in field:
        return _type(schema["$defs"][field["$ref"].rpartition("/")[2]], schema)
    if "enum" in field or "const" in field:
        return " or ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    if "anyOf" in field:
        members = [_type(member, schema) for member in field["anyOf"] if member.get("type") != "null"]
        return " or ".join(dict.fromkeys(members))
    kind = field.get("type")
    if kind == "array" and field.get("items"):
        return f"list of {_type(field['items'], schema)}"
    if kind == "object" and isinstance(field.get("additionalProperties"), dict):
        return f"mapping to {_type(field['additionalProperties'], schema)}"
    return _WORDS.get(str(kind), "any value")


def _code(value: Any) -> str:
    text = value if isinstance(value, str) else flow(value)
    return f"`{text}`" if "`" not in text else f"`` {text} ``"


def spec_reference() -> str:
    """The generated part of `docs/spec.md`, from the models and from the connectors that are installed."""
    return "\n\n".join(_sections()) + "\n"


def _sections() -> Iterator[str]:
    yield MARK
    yield f"## All keys\n\n{docs_table(SpecShape)}"
    for name, models in _PARTS.items():
        yield f"## `{name}`"
        for model in models:
            yield from _part(model)
        if name == "checks":
            yield f"### Great Expectations\n\n{_expectations()}"
    for role in ("source", "target"):
        yield f"## {role.capitalize()}s"
        for connector in connectors().values():
            if getattr(connector, role) is not None:
                yield _connector(connector, role)


def _part(model: type[BaseModel]) -> Iterator[str]:
    if model in _TITLES:
        yield f"### {_TITLES[model]}"
    yield docs_table(model)


def _connector(connector: Connector, role: str) -> str:
    declared = getattr(connector, role)
    later = "" if declared.implementation else "\n\nValid in a spec; it can't be run in this release."
    return f"### `{connector.name}`\n\n{connector.summary}.{later}\n\n{docs_table(declared.options)}"


def _expectations() -> str:
    lines = [
        "Each takes a `severity` too.",
        "",
        "| expectation | required arguments | optional arguments |",
        "|---|---|---|",
    ]
    for name, signature in expectations().items():
        cells = (", ".join(f"`{a}`" for a in arguments) for arguments in (signature.required, signature.optional))
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines)
