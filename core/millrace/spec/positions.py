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
    line, column = starts[offset]
    end_line, end_column = starts[min(offset + max(length, 1), len(text))]
    return Span(line, column, max(end_column - column, 1) if end_line == line else 1)


def _starts(lines: list[str], span: Span, text: str) -> list[tuple[int, int]] | None:
    """For each character of the scalar's text, and for its end, the line and column in the file."""
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


def _block(lines: list[str], span: Span, text: str) -> list[tuple[int, int]] | None:
    """Literal and folded blocks: every line of the text has lost the same indentation."""
    stop = min(span.end[0] + (1 if span.end[1] else 0), len(lines))
    first = next((line for line in lines[span.line + 1 : stop] if line.strip(" ")), "")
    indent = len(first) - len(first.lstrip(" "))
    body = [line[indent:] for line in lines[span.line + 1 : stop]]
    found: list[tuple[int, int]] = []
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
