"""What is wrong with a file, and where: the values behind `user.yaml:7:3: unknown key 'soruce'`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

Path: TypeAlias = tuple[str | int, ...]
"""The way to a place in a document, e.g. `("checks", 0, "between", "column")`."""

_WIDTH = 110  # characters of a source line that are shown


@dataclass(frozen=True)
class Problem:
    """What is wrong at a path of the document; a `Diagnostic` once its place in the file is known.

    `on_key`: the key is meant, not its value. `offset` and `length` narrow it to a part of the text that stands there;
    `name` narrows it to the first place where that name stands in the text.
    """

    path: Path
    message: str
    on_key: bool = False
    offset: int | None = None
    length: int = 0
    name: str = ""

    def under(self, *prefix: str | int) -> Problem:
        """The same problem, its path seen from further up."""
        return Problem((*prefix, *self.path), self.message, self.on_key, self.offset, self.length, self.name)


@dataclass(frozen=True)
class Diagnostic:
    """One error of a file. `line` and `column` count from 1; `length` is the number of characters that are wrong."""

    file: str
    line: int
    column: int
    message: str
    path: Path = ()
    source_line: str = ""
    length: int = 1

    def __str__(self) -> str:
        """As compilers give it, on one line: `user.yaml:7:3: unknown key 'soruce', did you mean 'source'?`"""
        return f"{self.file}:{self.line}:{self.column}: {self.message}"

    @property
    def document_path(self) -> str:
        """The path as text, e.g. `checks[0].between.column`; empty for the whole document."""
        parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path)
        return "".join(parts).lstrip(".")

    def full(self) -> str:
        """The error with its path, its line of the file, and a caret under the place."""
        where = f"  (at {self.document_path})" if self.path else ""
        margin = f"{self.line:>5} | "
        start = max(0, self.column - 1 - _WIDTH // 2) if len(self.source_line) > _WIDTH else 0
        shown = "".join(c if c.isprintable() else " " for c in self.source_line[start : start + _WIDTH])
        before = self.column - 1 - start
        carets = "^" * max(1, min(self.length, len(shown) - before))
        return f"{self}{where}\n{margin}{shown}\n{' ' * (len(margin) - 2)}| {' ' * before}{carets}"


def summary(diagnostics: Iterable[Diagnostic]) -> str:
    """One line an error, in the order of the file."""
    return "\n".join(str(diagnostic) for diagnostic in diagnostics)


def closest(name: str, names: Iterable[str]) -> str | None:
    """The valid name that was probably meant, if one is near enough."""
    lowered = {candidate.lower(): candidate for candidate in sorted(names, reverse=True)}
    found = difflib.get_close_matches(name.lower()[:80], lowered, n=1, cutoff=0.6)
    return lowered[found[0]] if found else None


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """`, did you mean 'source'?`; without a near name `, expected one of a, b`; empty when there are no names."""
    names = list(names)
    found = closest(name, names)
    if found is not None and found != name:
        return f", did you mean '{found}'?"
    return f", expected one of {listed(names)}" if names else ""


def listed(names: Iterable[str], at_most: int = 12) -> str:
    """`a, b, c`, cut off with a count when there are many."""
    names = list(names)
    more = f", … ({len(names) - at_most} more)" if len(names) > at_most else ""
    return ", ".join(names[:at_most]) + more


def shown(text: str, at_most: int = 60) -> str:
    """Text from a file as an error quotes it: one line, cut off, control characters escaped."""
    cut = text if len(text) <= at_most else text[:at_most] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
