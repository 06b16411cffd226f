"""Values of a run's data interval in a spec's texts, such as `{{ ds }}`: found, checked and filled in. Nothing else.

Only the names below are known and each stands for a date or a time in UTC, so whatever a spec says, nothing is
evaluated and nothing but digits and the format's own signs is put in. The names are Airflow's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import BaseModel

from millrace.spec.diagnostics import Path, Problem, did_you_mean, shown

#: The name, which end of the interval it is, and its format when the text gives none.
NAMES: Mapping[str, tuple[str, str]] = {
    "ds": ("start", "%Y-%m-%d"),
    "ds_nodash": ("start", "%Y%m%d"),
    "ts": ("start", "%Y-%m-%dT%H:%M:%S+00:00"),
    "ts_nodash": ("start", "%Y%m%dT%H%M%S"),
    "data_interval_start": ("start", "%Y-%m-%dT%H:%M:%S+00:00"),
    "data_interval_end": ("end", "%Y-%m-%dT%H:%M:%S+00:00"),
}
_TEMPLATE = re.compile(r"\{\{\s*([^{}|]*?)\s*(?:\|\s*([^{}]*?)\s*)?\}\}")
_FORMAT = re.compile(r"(?=.*%)(?:%[YmdHMSj]|[\w :/=+.,-])+", re.ASCII)

T = TypeVar("T")


@dataclass(frozen=True)
class Interval:
    """`[start, end)`, both with a zone."""

    start: datetime
    end: datetime


def problems(value: Any, path: Path = ()) -> Iterator[Problem]:
    """Templates in the texts of a document's part that can't be filled in."""
    if isinstance(value, str):
        for match in _TEMPLATE.finditer(value):
            name, layout = match.group(1), match.group(2)
            if name not in NAMES:
                message = f"unknown value '{shown(name)}' in {{{{ }}}}{did_you_mean(name, NAMES)}"
                yield Problem(path, message, offset=match.start(), length=len(match.group()))
            elif layout is not None and _FORMAT.fullmatch(layout) is None:
                message = f"'{shown(layout)}' is no time's format, expected %Y %m %d %H %M %S %j"
                yield Problem(path, message, offset=match.start(), length=len(match.group()))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from problems(item, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from problems(item, (*path, index))


def has_template(value: Any) -> bool:
    """Whether any text in a value, however deep, depends on the interval."""
    if isinstance(value, str):
        return _TEMPLATE.search(value) is not None
    return any(has_template(part) for part in _parts(value))


def fill_in(value: T, interval: Interval) -> T:
    """The value with every template in its texts filled in: texts, lists, maps, dataclasses, models."""
    filled: Any = value
    if not has_template(value):
        pass
    elif isinstance(value, str):
        filled = _TEMPLATE.sub(lambda match: _text(match, interval), value)
    elif isinstance(value, BaseModel):
        parts = {name: fill_in(getattr(value, name), interval) for name in type(value).model_fields}
        filled = value.model_copy(update=parts)
    elif is_dataclass(value) and not isinstance(value, type):
        filled = replace(value, **{f.name: fill_in(getattr(value, f.name), interval) for f in fields(value)})
    elif isinstance(value, Mapping):
        filled = {key: fill_in(item, interval) for key, item in value.items()}
    elif isinstance(value, tuple | list):
        filled = type(value)(fill_in(item, interval) for item in value)
    return filled  # type: ignore[no-any-return]  # of the same type as it came


def _text(match: re.Match[str], interval: Interval) -> str:
    which, layout = NAMES[match.group(1)]
    time: datetime = getattr(interval, which)
    return time.astimezone(UTC).strftime(match.group(2) or layout)


def _parts(value: Any) -> list[Any]:
    if isinstance(value, BaseModel):
        return [getattr(value, name) for name in type(value).model_fields]
    if is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, f.name) for f in fields(value)]
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, tuple | list) else []
