"""Output as a page shows it, against what a command really printed. Pure.

A page shows one real output. What is different each time stands for any of its kind: times, seconds and other numbers
with a point, speeds, sizes in KiB, ports, and the ids of runs and versions; but an id of the page means the same real
id wherever the page has it. `…` stands for any text in a line, and a line of it alone for any lines. Spaces count as
one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_ID = r"(?<![\w-])\d(?=[0-9a-z]*[a-z])[0-9a-hjkmnp-tv-z]{9}(?![\w-])"
_VOLATILE = "|".join(
    (
        r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:Z| UTC)?",
        r"[\d,]+\.\d+ (?:s|[KMGT]iB)\b",
        r"(?<!\S)\d+\.\d\d?(?!\S)",
        r"[\d,]+/s\b",
        r"127\.0\.0\.1:\d+",
        r"pid \d+",
    )
)
_TOKEN = re.compile(rf"(?P<id>{_ID})|(?P<volatile>{_VOLATILE})|(?P<any>…)|(?P<space>\s+)")
_COMMAND = re.compile(r"^\$ (.*)$", re.MULTILINE)
_EXIT_CODE = re.compile(r"\n?^\(exit code (\d+)\)\s*\Z", re.MULTILINE)
#: Lines that a terminal overwrites: they are seen only in logs.
_PROGRESS = re.compile(r"^ *[\d.]+ s  … .*\n", re.MULTILINE)


@dataclass(frozen=True)
class Example:
    """One command of a `console` block, what it prints and how it ends."""

    command: str
    output: str
    exit_code: int


def examples(text: str) -> list[Example]:
    """The commands of a `console` block. Raises ValueError for a block that doesn't begin with one."""
    before, *parts = _COMMAND.split(text)
    if before.strip() or not parts:
        raise ValueError("a console block begins with `$ command`")
    found = []
    for command, output in zip(parts[::2], parts[1::2], strict=True):
        ended = _EXIT_CODE.search(output)
        code = int(ended[1]) if ended else 0
        found.append(Example(command, output[: ended.start()] if ended else output, code))
    return found


def with_real_ids(command: str, ids: Mapping[str, str]) -> str:
    """A command of the page with this time's ids."""
    return re.sub(_ID, lambda m: ids.get(m[0], m[0]), command)


def match(shown: str, printed: str, ids: Mapping[str, str]) -> dict[str, str] | None:
    """The ids of the page and what they are this time, when the output is as shown; None when it isn't."""
    known = dict(ids)
    names: dict[str, str] = {}
    lines = [_line(line, known, names) for line in _lines(shown)]
    pattern = "".join(r"(?:.*\n)*?" if line is None else line + r"\n" for line in lines)
    found = re.fullmatch(pattern, "".join(f"{line}\n" for line in _lines(_PROGRESS.sub("", printed))))
    if found is None:
        return None
    return known | {page_id: found[group] for page_id, group in names.items()}


def _lines(text: str) -> list[str]:
    return [line for line in (" ".join(line.split()) for line in text.splitlines()) if line]


def _line(text: str, known: Mapping[str, str], names: dict[str, str]) -> str | None:
    """A regular expression for one line; None for a line that stands for any lines."""
    if text == "…":
        return None
    pattern, end = "", 0
    for token in _TOKEN.finditer(text):
        pattern += re.escape(text[end : token.start()]) + _token(token, known, names)
        end = token.end()
    return pattern + re.escape(text[end:])


def _token(token: re.Match[str], known: Mapping[str, str], names: dict[str, str]) -> str:
    if token["space"]:
        return " +"
    if token["any"]:
        return ".*?"
    if token["volatile"]:
        return f"(?:{_VOLATILE})"
    if token[0] in known:
        return re.escape(known[token[0]])
    if token[0] in names:
        return f"(?P={names[token[0]]})"
    names[token[0]] = f"id{len(names)}"
    return f"(?P<{names[token[0]]}>{_ID})"
