"""Rows that were read back, compared with those that were sent."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

_SHOWN_CHARACTERS = 300


def difference(key: bytes, got: Mapping[str, Any] | None, expected: Mapping[str, Any] | None) -> str:
    """A line that says how the row under a key differs, for a person. None is no row."""
    return f"{key.decode('utf-8', 'backslashreplace')}: got {_shown(got)}, expected {_shown(expected)}"


def same(got: Any, expected: Any) -> bool:
    """Equality in which a NaN is itself, at any depth."""
    if isinstance(got, float) and isinstance(expected, float):
        return got == expected or (math.isnan(got) and math.isnan(expected))
    if isinstance(got, Mapping) and isinstance(expected, Mapping):
        return got.keys() == expected.keys() and all(same(value, expected[name]) for name, value in got.items())
    if isinstance(got, list | tuple) and isinstance(expected, list | tuple):
        return len(got) == len(expected) and all(map(same, got, expected))
    return bool(got == expected)


def _shown(row: Any) -> str:
    text = "nothing" if row is None else json.dumps(row, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
