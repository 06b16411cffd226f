"""From an offset in a scalar's text back to a line and column of the file."""

from __future__ import annotations

from dataclasses import dataclass


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


def offset_in_source(lines: list[str], span: Span, text: str, offset: int, length: int) -> Span | None:
    """The place of `text[offset : offset + length]`, where `text` is what the scalar at `span` holds.

    None when the scalar's form doesn't tell (folded text with blank lines, for example).
    """
    starts = _starts(lines, span, text)
    if starts is None or not 0 <= offset <= len(text):
        return None
    if offset == len(text) and offset > 0:
        line, column = starts[offset - 1]
        return Span(line, column + 1, 1)
    if not text:
        return None
    line, column = starts[offset]
    last_line, last_column = starts[min(max(offset, offset + length - 1), len(text) - 1)]
    return Span(line, column, last_column - column + 1 if last_line == line else 1)


def _starts(lines: list[str], span: Span, text: str) -> list[tuple[int, int]] | None:
    """For each character of the scalar's text, its line and column in the file."""
    if span.style in ("|", ">"):
        return _block(lines, span, text)
    if span.end[0] != span.line:
        return _folded(lines, span, text)
    raw = lines[span.line][span.column : span.end[1]]
    if span.style == "":
        return [(span.line, span.column + i) for i in range(len(text))] if raw == text else None
    found, position = [], 1
    for _ in text:
        found.append((span.line, span.column + position))
        position += _escape_width(raw, position, span.style)
    return found if position == len(raw) - 1 else None


def _escape_width(raw: str, position: int, style: str) -> int:
    if style == "'":
        return 2 if raw.startswith("''", position) else 1
    if raw[position : position + 1] != "\\":
        return 1
    return {"x": 4, "u": 6, "U": 10}.get(raw[position + 1 : position + 2], 2)


def _block(lines: list[str], span: Span, text: str) -> list[tuple[int, int]] | None:
    """Literal and folded blocks: every line of the text has lost the same indentation."""
    body = [(number, lines[number]) for number in range(span.line + 1, min(span.end[0] + 1, len(lines)))]
    first = next((line for _, line in body if line.strip(" ")), "")
    indent = len(first) - len(first.lstrip(" "))
    found: list[tuple[int, int]] = []
    rebuilt = []
    for number, line in body:
        content = line[indent:]
        rebuilt.append(content)
        found += [
            (number, indent + i) for i in range(len(content) + 1)
        ]  # the line break (or the space for it) included
    joined = "\n".join(rebuilt) if span.style == "|" else " ".join(rebuilt)
    stripped = text.rstrip("\n")
    if not joined.startswith(stripped) or joined[len(stripped) :].strip():
        return None
    return (found + [found[-1]] * len(text))[: len(text)] if found else None


def _folded(lines: list[str], span: Span, text: str) -> list[tuple[int, int]] | None:
    """Plain and quoted scalars over several lines, without escapes and blank lines: their lines joined by a space."""
    quote = len(span.style)
    found: list[tuple[int, int]] = []
    rebuilt = []
    for number in range(span.line, span.end[0] + 1):
        line = lines[number]
        start = span.column + quote if number == span.line else len(line) - len(line.lstrip())
        stop = span.end[1] - quote if number == span.end[0] else len(line.rstrip())
        rebuilt.append(line[start:stop])
        found += [(number, column) for column in range(start, stop + 1)]
    return found if " ".join(rebuilt) == text else None
