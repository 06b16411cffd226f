"""Patterns of names: `orders_{00..15}`, `shop_{eu,us}`, and the wildcards * and ?. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from math import prod

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_MOST = 4096


def is_pattern(text: str) -> bool:
    """Whether a name is one of many."""
    return any(mark in text for mark in "{*?")


def count_of(pattern: str) -> int:
    """How many names the braces stand for. Raises ValueError for braces that say nothing, or too much."""
    counts = [len(_choices(found)) for found in _BRACES.findall(pattern)]
    if "{" in _BRACES.sub("", pattern) or "}" in _BRACES.sub("", pattern):
        raise ValueError(f"bad pattern '{pattern}': expected {{00..15}} or {{a,b}} in braces that close")
    if prod(counts) > _MOST:
        raise ValueError(f"the pattern '{pattern}' stands for {prod(counts):,} names, at most {_MOST:,} are allowed")
    return prod(counts)


def expanded(pattern: str) -> tuple[str, ...]:
    """The names that the braces of a pattern stand for, in order; wildcards stay."""
    found = _BRACES.search(pattern)
    if found is None:
        return (pattern,)
    start, rest = pattern[: found.start()], expanded(pattern[found.end() :])
    return tuple(start + choice + end for choice in _choices(found.group(1)) for end in rest)


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """Those of the names that a pattern with wildcards stands for, in order."""
    brackets = pattern.replace("[", "[[]")
    return sorted(name for name in names if fnmatchcase(name, brackets))


def has_wildcard(text: str) -> bool:
    return "*" in text or "?" in text


def _choices(inside: str) -> Sequence[str]:
    """The texts that one pair of braces stands for; a range keeps its leading zeros."""
    found = _RANGE.fullmatch(inside)
    if found is None:
        if "," not in inside:
            raise ValueError(
                f"bad braces '{{{inside}}}': expected a range such as {{00..15}}, or a list such as {{a,b}}"
            )
        return inside.split(",")
    first, last = int(found.group(1)), int(found.group(2))
    if not 0 <= last - first < _MOST:
        raise ValueError(f"bad range '{{{inside}}}': expected two numbers that rise, at most {_MOST:,} apart")
    width = len(found.group(1)) if found.group(1).startswith("0") else 0
    return [str(number).zfill(width) for number in range(first, last + 1)]
