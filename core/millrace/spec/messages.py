"""pydantic's errors in our words: what was expected and got, which name was probably meant, at the file's own path."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from enum import Enum
from types import UnionType
from typing import Annotated, Any, TypeAlias, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from millrace.spec.diagnostics import Path, Problem, closest, did_you_mean, shown
from millrace.spec.document import Document
from millrace.spec.shape.fields import Choice
from millrace.spec.units import format_duration

Context: TypeAlias = Mapping[str, Any]

_EXPECTED: Mapping[str, str] = {
    "string_type": "expected a text",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "int_parsing_size": "expected a smaller whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "finite_number": "expected a finite number",
    "decimal_type": "expected a number",
    "decimal_parsing": "expected a number",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "list_type": "expected a list",
    "tuple_type": "expected a list",
    "set_type": "expected a list",
    "frozen_set_type": "expected a list",
    "dict_type": "expected a mapping",
    "mapping_type": "expected a mapping",
    "model_type": "expected a mapping",
    "model_attributes_type": "expected a mapping",
    "dataclass_type": "expected a mapping",
    "date_type": "expected a date such as '2026-01-31'",
    "date_parsing": "expected a date such as '2026-01-31'",
    "date_from_datetime_parsing": "expected a date such as '2026-01-31'",
    "date_from_datetime_inexact": "expected a date such as '2026-01-31'",
    "datetime_type": "expected a time such as '2026-01-31T12:00:00Z'",
    "datetime_parsing": "expected a time such as '2026-01-31T12:00:00Z'",
    "datetime_from_date_parsing": "expected a time such as '2026-01-31T12:00:00Z'",
    "time_delta_type": "expected a duration such as '30m'",
    "time_delta_parsing": "expected a duration such as '30m'",
    "url_type": "expected a URL",
    "url_parsing": "expected a URL",
    "path_type": "expected a path",
    "none_required": "expected nothing",
}
_WITH_LIMIT: Mapping[str, Callable[[Context], str]] = {
    "greater_than": lambda c: f"expected more than {_limit(c['gt'])}",
    "greater_than_equal": lambda c: f"expected at least {_limit(c['ge'])}",
    "less_than": lambda c: f"expected less than {_limit(c['lt'])}",
    "less_than_equal": lambda c: f"expected at most {_limit(c['le'])}",
    "multiple_of": lambda c: f"expected a multiple of {c['multiple_of']}",
    "too_short": lambda c: f"expected at least {_items(c['min_length'])}",
    "too_long": lambda c: f"expected at most {_items(c['max_length'])}",
    "string_too_short": lambda c: f"expected at least {c['min_length']} characters",
    "string_too_long": lambda c: f"expected at most {c['max_length']} characters",
    "string_pattern_mismatch": lambda c: f"expected a text that matches {c['pattern']}",
}
_OURS = frozenset({"millrace", "duration", "size", "ratio"})


def problems(error: ValidationError, shape: type[BaseModel], document: Document) -> list[Problem]:
    """Every error of a validation, in words; paths are those of the document."""
    details = error.errors(include_url=False)
    misspelt = _misspelt(details, shape)
    found: dict[tuple[Path, bool, str], list[str]] = {}
    for detail in details:
        loc, kind = detail["loc"], detail["type"]
        if kind == "missing" and loc in misspelt:
            continue  # it is there under a misspelt name, which is reported
        if kind in ("too_short", "too_long") and _under(loc, details):
            continue  # items that are wrong in themselves were not counted
        problem = _problem(detail, shape, document)
        key = str(loc[-1]) if kind == "missing" else ""
        messages = found.setdefault((problem.path, problem.on_key, key), [])
        if problem.message not in messages:
            messages.append(problem.message)
    return [Problem(path, _either(messages), on_key) for (path, on_key, _), messages in found.items()]


def _misspelt(details: list[ErrorDetails], shape: type[BaseModel]) -> set[Path]:
    """Where the keys would stand that unknown keys were probably meant to be."""
    unknown = [detail["loc"] for detail in details if detail["type"] == "extra_forbidden"]
    return {(*loc[:-1], closest(str(loc[-1]), _keys(shape, loc[:-1])) or "") for loc in unknown}


def _under(loc: Path, details: list[ErrorDetails]) -> bool:
    return any(len(other["loc"]) > len(loc) and other["loc"][: len(loc)] == loc for other in details)


def _either(messages: list[str]) -> str:
    """One message for a place; the alternatives of a union come together here."""
    expected = [m.removeprefix("expected ").split(", got ")[0] for m in messages if m.startswith("expected ")]
    if len(expected) == len(messages) > 1:
        got = messages[0].rpartition(", got ")
        return f"expected {' or '.join(expected)}" + (f", got {got[2]}" if got[1] else "")
    return "; or: ".join(messages)


def _problem(detail: ErrorDetails, shape: type[BaseModel], document: Document) -> Problem:
    loc, kind, context = detail["loc"], detail["type"], detail.get("ctx", {})
    if kind == "missing":
        path = document.node(loc[:-1])[1]
        owner = f" of {path[-1]}" if path and isinstance(path[-1], str) else ""
        return Problem(path, f"missing required key '{loc[-1]}'{owner}", on_key=True)
    if kind == "extra_forbidden":
        return Problem(document.node(loc)[1], _unknown_key(str(loc[-1]), shape, loc[:-1]), on_key=True)
    node, path = document.node(loc)
    got = "the value of " + shown(node.raw or "") if node.interpolated else described(detail["input"])
    return Problem(path, _message(kind, context, got, detail))


def _message(kind: str, context: Context, got: str, detail: ErrorDetails) -> str:
    if kind in _OURS:
        return str(context["reason"])
    if kind in ("value_error", "assertion_error"):
        return str(context.get("error", detail["msg"]))
    if kind in ("enum", "literal_error"):
        return _one_of(context, detail["input"], got)
    if kind == "union_tag_invalid":
        return f"expected {context['discriminator']} to be one of {context['expected_tags']}, got '{context['tag']}'"
    if kind == "union_tag_not_found":
        return f"missing required key {context['discriminator']}"
    if kind == "string_type" and isinstance(detail["input"], int | float):
        return f"expected a text, got {got}: put it in quotes"
    if kind in _EXPECTED:
        return f"{_EXPECTED[kind]}, got {got}"
    if kind in _WITH_LIMIT:
        counted = kind in ("too_short", "too_long", "string_too_short", "string_too_long")
        return _WITH_LIMIT[kind](context) + ("" if counted else f", got {got}")
    return f"{detail['msg'][:1].lower()}{detail['msg'][1:]}, got {got}"


def _one_of(context: Context, value: Any, got: str) -> str:
    names = [part.strip("' ") for part in str(context["expected"]).replace(" or ", ", ").split(",")]
    found = closest(value, names) if isinstance(value, str) else None
    meant = f", did you mean '{found}'?" if found is not None else ""
    return f"expected {' or '.join(names) if len(names) == 2 else ', '.join(names)}, got {got}{meant}"


def _unknown_key(key: str, shape: type[BaseModel], path: Path) -> str:
    for candidate in _models(shape, path):
        if issubclass(candidate, Choice):
            return candidate.unknown(key)
    return f"unknown key '{shown(key)}'{did_you_mean(key, _keys(shape, path))}"


def _items(count: int) -> str:
    return f"{count} item" if count == 1 else f"{count} items"


def _limit(value: Any) -> str:
    """A bound as a spec would write it; pydantic gives those of durations as Python text."""
    text = str(value)
    if not text.startswith("datetime.timedelta"):
        return text
    return format_duration(timedelta(**{unit: int(count) for unit, count in re.findall(r"(\w+)=(\d+)", text)}))


def described(value: Any) -> str:
    """A value as an error names it: its kind and, for a scalar, what it is."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value}"
        case str():
            return f"'{shown(value)}'"
        case Enum():
            return f"'{value.value}'"
        case dict():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case _:
            return f"'{shown(str(value))}'"


def _keys(shape: type[BaseModel], path: Path) -> list[str]:
    return [field.alias or name for found in _models(shape, path) for name, field in found.model_fields.items()]


def _models(shape: type[BaseModel], path: Path) -> list[type[BaseModel]]:
    """The models that describe the mapping at a path; parts of the path that are pydantic's own tags are skipped."""
    annotations: list[Any] = [shape]
    for part in path:
        deeper = [found for annotation in annotations for found in _deeper(annotation, part)]
        annotations = deeper or annotations
    flat = [plain for annotation in annotations for plain in _plain(annotation)]
    return [plain for plain in flat if isinstance(plain, type) and issubclass(plain, BaseModel)]


def _deeper(annotation: Any, part: str | int) -> Iterator[Any]:
    for plain in _plain(annotation):
        origin, arguments = get_origin(plain), get_args(plain)
        if isinstance(plain, type) and issubclass(plain, BaseModel):
            for name, field in plain.model_fields.items():
                if part in (name, field.alias):
                    yield field.annotation
        elif isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(part, str):
            yield arguments[1]
        elif isinstance(origin, type) and issubclass(origin, Iterable) and isinstance(part, int) and arguments:
            yield arguments[0]


def _plain(annotation: Any) -> list[Any]:
    """An annotation without `Annotated`, and a union as its members."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [plain for member in get_args(annotation) for plain in _plain(member)]
    return [annotation]
