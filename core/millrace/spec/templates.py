"""Texts with places for values: `{field}` of a request, `{part.field}` of an earlier part of a union. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_PLACE = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)(?:\.([^{}]+))?\}|[{}]")


@dataclass(frozen=True)
class Place:
    """One place: a field of the request (`part` is None), or a column of what a part gave."""

    part: str | None
    field: str

    def __str__(self) -> str:
        return f"{{{self.field}}}" if self.part is None else f"{{{self.part}.{self.field}}}"


def places(value: Any) -> Iterator[Place]:
    """Every place in a JSON value's texts. Raises ValueError for a brace that is neither doubled nor of a place."""
    match value:
        case str():
            yield from (item for item in _pieces(value) if isinstance(item, Place))
        case Mapping():
            for item in value.values():
                yield from places(item)
        case list() | tuple():
            for item in value:
                yield from places(item)


def filled(value: Any, at: Callable[[Place], Any]) -> Any:
    """The value with its places filled in. A text that is one place becomes the value itself, whatever its type.

    Raises what `at` raises, and ValueError for a value inside of a text that is neither text, number nor boolean.
    """
    match value:
        case str():
            return _filled_text(value, at)
        case Mapping():
            return {key: filled(item, at) for key, item in value.items()}
        case list() | tuple():
            return [filled(item, at) for item in value]
        case _:
            return value


def _filled_text(text: str, at: Callable[[Place], Any]) -> Any:
    pieces = _pieces(text)
    if len(pieces) == 1 and isinstance(pieces[0], Place):
        return at(pieces[0])
    return "".join(piece if isinstance(piece, str) else _as_text(at(piece), piece) for piece in pieces)


def _as_text(value: Any, place: Place) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float):
        raise ValueError(f"{place} is a {type(value).__name__}, which can't stand inside of a text")
    return str(value)


def _pieces(text: str) -> Sequence[str | Place]:
    found: list[str | Place] = []
    end = 0
    for match in _PLACE.finditer(text):
        if match.start() > end:
            found.append(text[end : match.start()])
        end = match.end()
        token = match.group()
        if token in ("{{", "}}"):
            found.append(token[0])
        elif match.group(1) is None:
            raise ValueError(f"'{token}' is not part of a place such as {{field}}: write it twice for itself")
        else:
            found.append(Place(match.group(1) if match.group(2) else None, match.group(2) or match.group(1)))
    if end < len(text) or not found:
        found.append(text[end:])
    return found
