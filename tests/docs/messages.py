"""The messages that the code can print, taken from its texts: what a page quotes must be one of them. Pure."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

from tests.docs.pages import ROOT

_FOLDERS = ("core", "connectors", "quality", "jobs", "serving", "cli")
_GAP = "\0"  # a part of a message that is filled in
_SHORTEST = 12  # letters of a quotation that must be found


def is_printed(quoted: str) -> bool:
    """Whether the code has a text that this quotation, with `…` for what is filled in, is all or a part of."""
    if len(re.sub(r"[\W\d]|…", "", quoted)) < _SHORTEST:
        return False
    parts = [part for part in re.split(r"\s*…\s*", quoted) if part]
    pattern = ".*?".join(map(re.escape, parts))
    return any(re.search(pattern, text) or _fits(text, quoted) for text in _texts())


def _fits(text: str, quoted: str) -> bool:
    """Whether the text, its gaps filled in, is the quotation."""
    fixed = text.split(_GAP)
    if max(map(len, fixed)) < _SHORTEST:
        return False
    return re.fullmatch(".+?".join(map(re.escape, fixed)), quoted) is not None


@cache
def _texts() -> tuple[str, ...]:
    found: list[str] = []
    for folder in _FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            found += _strings(ast.parse(path.read_text(encoding="utf-8")))
    return tuple(dict.fromkeys(found))


def _strings(node: ast.AST) -> Iterator[str]:
    """Every text but docstrings, with a mark where a part is filled in."""
    docstrings = {id(inner.value) for inner in ast.walk(node) if isinstance(inner, ast.Expr)}
    for inner in ast.walk(node):
        if id(inner) in docstrings:
            continue
        if isinstance(inner, ast.JoinedStr):
            yield "".join(str(v.value) if isinstance(v, ast.Constant) else _GAP for v in inner.values)
        elif isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            yield inner.value
