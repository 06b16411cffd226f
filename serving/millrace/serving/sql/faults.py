"""What is wrong with a query, and where in its tree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from millrace.serving.refusals import Refused

Path: TypeAlias = tuple[str | int, ...]


class QueryError(Refused, ValueError):
    """A query that its API can't answer as it is. `path` leads to the place in the tree, e.g. `where.and[1].in`."""

    def __init__(self, message: str, path: Path = (), *, hint: str = "") -> None:
        place = place_of(path)
        super().__init__(f"{place}: {message}" if place else message, hint=hint)
        self.path = path


class CursorExpired(QueryError):
    """A page's cursor whose version of the asset is gone: the pages start again with the first."""

    status = 410
    slug = "cursor-expired"


class TooManyRows(QueryError):
    """An answer with more rows than the API gives at once."""

    status = 413
    slug = "too-large"


def place_of(path: Sequence[str | int]) -> str:
    """A path as a person writes it."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")
