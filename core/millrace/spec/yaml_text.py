"""Values as YAML text, for starter specs and reference pages."""

from __future__ import annotations

import json
import re
from typing import Any

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./%-]*|[0-9][0-9.]*[a-zA-Z%]+")
_NUMBER = re.compile(r"[0-9.]+[eE][0-9]+|0[xo][0-9a-fA-F]+")
_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off"})


def flow(value: Any) -> str:
    """A value of plain data in YAML's flow style, on one line; read back, it is the same value."""
    if isinstance(value, str):
        text = str(value)
        plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS and not _NUMBER.fullmatch(text)
        return text if plain else json.dumps(text, ensure_ascii=False)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flow(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{flow(key)}: {flow(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)
