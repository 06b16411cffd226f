"""A starter spec for `millrace init`: valid as it stands, and commented from the connectors' own options."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic.fields import FieldInfo

from millrace.errors import ConfigError
from millrace.spec.columns import source_columns
from millrace.spec.connection import EMBEDDED
from millrace.spec.connector import Connector, Options, SourceRole, TargetRole, connectors
from millrace.spec.diagnostics import did_you_mean
from millrace.spec.schema import model_schema
from millrace.spec.shape.fields import as_name, is_name
from millrace.spec.yaml_text import flow

_WIDTH = 44  # where comments start


def starter_spec(asset: str, source: str, target: str) -> str:
    """The text of a new spec that reads `source` and loads `target`, two installed connectors by name.

    Required options are filled in with their examples, optional ones stand as comments. Raises ConfigError for a bad
    asset name, and for a connector that isn't installed or can't take that role.
    """
    if not is_name(asset):
        raise ConfigError(f"bad asset name '{asset}'", hint=f"write it like '{as_name(asset) or 'my_asset'}'")
    reading, loading = _connector(source, "source"), _connector(target, "target")
    source_role, target_role = _role(reading.source), _role(loading.target)
    read = _examples(source_role, reading)
    known = source_columns(source_role.options.model_validate(read))
    columns = list(known) if known else ["id"]
    load = _fitted(target_role.options, _examples(target_role, loading), columns)
    lines = [
        "# One asset: from where it is kept to where it is read. All keys: docs/spec.md.",
        "version: 1",
        f"asset: {asset}",
        *_commented("owner: you@example.com", "who answers for it"),
        "description: What one row is, and what for.",
        *_commented("# business_line: growth", "groups assets in pools and reports"),
        *_commented("priority: medium", "high | medium | low"),
        *_commented("schedule: none", '"0 * * * *", @hourly…, {after: [other_asset]}, or none'),
        "",
        "source:",
        f"  {source}:",
        *_options(source_role.options, read, "    "),
        "",
        *_commented("# transform:", "where, select, derive, rename, cast, dedupe, mask, sql; step by step"),
        *_commented(f'#   - where: "{columns[0]} is not null"', "Spark SQL"),
        "",
        *_commented("checks:", "a failed check stops the publish"),
        f"  - not_null: [{flow(columns[0])}]",
        *_commented("  - row_count: {min: 1}", "also max, and change: 20% against the current version"),
        "",
        "targets:",
        f"  - {target}:",
        *_options(target_role.options, load, "      "),
        *_commented("mode: replace", "replace | merge | append"),
        "",
        "limits:",
        *_commented("  channels: 4", "tasks side by side"),
        *_commented("  # rows_per_second: 200000", "over all channels together"),
        *_commented("  dirty: {max_rows: 100}", "rows that may be set aside; max_ratio: 0.1%"),
        *_commented("  timeout: 30m", "then the run is stopped"),
        *_commented("versions: {keep: 2}", "for a rollback"),
        *_api(asset, target_role),
    ]
    return "\n".join(lines) + "\n"


def _connector(name: str, role: str) -> Connector:
    able = {c.name: c for c in connectors().values() if getattr(c, role) is not None}
    if name not in able:
        raise ConfigError(f"no {role} '{name}'{did_you_mean(name, able)}", hint="`millrace connectors` lists them all")
    return able[name]


def _role(role: SourceRole | TargetRole | None) -> Any:
    return role


def _examples(role: SourceRole | TargetRole, connector: Connector) -> dict[str, Any]:
    """A value for each required option; the embedded server as the connection where there is one."""
    fields = role.options.model_fields
    found = {_key(name, field): _example(field) for name, field in fields.items() if field.is_required()}
    found |= role.example
    if "connection" in found and EMBEDDED in connector.schemes:
        found["connection"] = EMBEDDED
    return found


def _key(name: str, field: FieldInfo) -> str:
    return field.alias or name


def _example(field: FieldInfo) -> Any:
    return field.examples[0] if field.examples else ""


def _fitted(options: type[Options], values: dict[str, Any], columns: list[str]) -> dict[str, Any]:
    """The target's example with the source's columns in the place of columns that the source doesn't have."""
    used = options.model_validate(values).referenced_columns()
    wanted = [name for names in used.values() for name in names if name not in columns]
    renamed = {name: columns[index % len(columns)] for index, name in enumerate(dict.fromkeys(wanted))}
    return {key: _replaced(value, renamed) for key, value in values.items()}


def _replaced(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [_replaced(item, names) for item in value]
    if isinstance(value, str):
        braced = re.sub(r"\{(\w+)\}", lambda m: "{" + names.get(m[1], m[1]) + "}", value)
        return names.get(braced, braced)
    return value


def _options(options: type[Options], values: Mapping[str, Any], indent: str) -> Iterator[str]:
    for name, field in options.model_fields.items():
        key = _key(name, field)
        if key in values:
            yield from _commented(f"{indent}{key}: {flow(values[key])}", meaning(field))
    declared = model_schema(options)["properties"]
    for name, field in options.model_fields.items():
        key = _key(name, field)
        if key not in values:
            value = declared[key].get("default", _example(field))  # as a spec writes it: `10s`, not a timedelta
            yield from _commented(f"{indent}# {key}: {flow(value)}", meaning(field))


def meaning(field: FieldInfo) -> str:
    """The first sentence of an option's description."""
    return re.split(r"\. (?=[A-Z`])", field.description or "")[0].rstrip(".")


def _commented(line: str, comment: str) -> Iterator[str]:
    yield f"{line.ljust(_WIDTH - 2)}  # {comment}" if comment else line


def _api(asset: str, role: TargetRole) -> Iterator[str]:
    kind = "kv" if role.lookups else "sql" if role.queries else ""
    if kind:
        yield "apis:"
        yield from _commented(f"  - {kind}: {{name: {asset}}}", "how applications read it")
