"""From an offset in a scalar's text back to a line and column of the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Span:
    """Where something stands; `line` and `column` count from 0, `length` is its part on the first line.

    `end` is the first place after it, and `style` a scalar's: `'`, `"`, `|`, `>`, or empty for a plain one.
    """

    line: int
    column: int
    length: int
    end: tuple[int, int] = (0, 0)
    style: str = ""


Places: TypeAlias = list[tuple[int, int]]


def span_of(places: Places, offset: int, length: int) -> Span | None:
    """The place of `length` characters from `offset` on, of a text whose `places` are known."""
    if not 0 <= offset < len(places):
        return None
    line, column = places[offset]
    end_line, end_column = places[min(offset + max(length, 1), len(places) - 1)]
    return Span(line, column, max(end_column - column, 1) if end_line == line else 1)


def places(lines: list[str], span: Span, text: str) -> Places | None:
    """For each character of the text that the scalar at `span` holds, and for its end, the line and column in the file.

    None when the scalar's form doesn't tell.
    """
    if span.style in ("|", ">"):
        return _block(lines, span, text)
    if span.end[0] != span.line:
        return _folded(lines, span, text)
    raw = lines[span.line][span.column : span.end[1]]
    if span.style == "":
        return [(span.line, span.column + i) for i in range(len(text) + 1)] if raw == text else None
    found, position = [], 1
    for _ in text:
        found.append((span.line, span.column + position))
        position += _escape_width(raw, position, span.style)
    found.append((span.line, span.column + position))
    return found if position == len(raw) - 1 else None


def _escape_width(raw: str, position: int, style: str) -> int:
    if style == "'":
        return 2 if raw.startswith("''", position) else 1
    if raw[position : position + 1] != "\\":
        return 1
    return {"x": 4, "u": 6, "U": 10}.get(raw[position + 1 : position + 2], 2)


def _block(lines: list[str], span: Span, text: str) -> Places | None:
    """Literal and folded blocks: every line of the text has lost the same indentation."""
    stop = min(span.end[0] + (1 if span.end[1] else 0), len(lines))
    first = next((line for line in lines[span.line + 1 : stop] if line.strip(" ")), "")
    indent = len(first) - len(first.lstrip(" "))
    body = [line[indent:] for line in lines[span.line + 1 : stop]]
    found: Places = []
    joined, end = "", (span.line, span.column)
    for number, content in enumerate(body):
        separator = "\n" if span.style == "|" else _fold(body, number)
        joined += content + separator
        found += [(span.line + 1 + number, indent + i) for i in range(len(content) + len(separator))]
        end = (span.line + 1 + number, indent + len(content))
    stripped = text.rstrip("\n")
    if not body or not joined.startswith(stripped) or joined[len(stripped) :].strip():
        return None
    return (found + [end] * (len(text) + 1))[: len(text) + 1]


def _fold(body: list[str], number: int) -> str:
    """What stands between a line of a folded block and the next: a space, or a line break beside indented lines."""
    line = body[number]
    after = next((other for other in body[number + 1 :] if other), "")
    if not line or line[0] in " \t" or after[:1] in (" ", "\t"):
        return "\n"
    return " " if number + 1 < len(body) and body[number + 1] else ""


def _folded(lines: list[str], span: Span, text: str) -> Places | None:
    """Plain and quoted scalars over several lines, without escapes and blank lines: their lines joined by a space."""
    quote = len(span.style)
    found: Places = []
    rebuilt = []
    for number in range(span.line, span.end[0] + 1):
        line = lines[number]
        start = span.column + quote if number == span.line else len(line) - len(line.lstrip())
        stop = span.end[1] - quote if number == span.end[0] else len(line.rstrip())
        rebuilt.append(line[start:stop])
        found += [(number, column) for column in range(start, stop + 1)]
    return found if " ".join(rebuilt) == text else None
