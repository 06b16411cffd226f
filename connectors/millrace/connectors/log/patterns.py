"""Lines that a regular expression takes apart: RE2 through Arrow, one pass over a batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from millrace.connectors.log.arrays import ArrowArray, Ints, pc, to_flags
from millrace.connectors.log.typed import ParsedLines, TypedField, assemble


class PatternParser:
    """Parses lines that a pattern with named groups matches as a whole. Groups that are no field are left out."""

    def __init__(self, pattern: str, fields: Sequence[TypedField]) -> None:
        self._pattern = whole_line(pattern)
        self._fields = fields

    def parse(self, lines: ArrowArray) -> ParsedLines:
        """`lines`: strings without nulls. A line that the pattern doesn't match is dirty."""
        matches = pc.extract_regex(lines, self._pattern)
        rows, missed = matched_rows(matches)
        texts = [_group(matches, field.name) for field in self._fields]
        dirty = [(int(row), "the line doesn't match the pattern") for row in missed]
        return assemble(self._fields, texts, rows, dirty)


def whole_line(pattern: str) -> str:
    return f"^(?:{pattern})$"


def matched_rows(matches: ArrowArray) -> tuple[Ints, Ints]:
    """The rows of an `extract_regex` that matched, and those that didn't."""
    hit = to_flags(matches.is_valid())
    return np.flatnonzero(hit), np.flatnonzero(~hit)


def _group(matches: ArrowArray, name: str) -> ArrowArray:
    column = matches.field(matches.type.get_field_index(name))
    return column.filter(matches.is_valid()) if matches.null_count else column
