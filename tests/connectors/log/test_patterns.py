"""Lines taken apart by a regular expression with named groups."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa

from millrace.connectors.log.options import LogOptions
from millrace.connectors.log.source import LogSource
from millrace.connectors.log.typed import ParsedLines

_PATTERN = r"(?P<time>\S+) (?P<level>[A-Z]+)(?: \[(?P<thread>\d+)\])? (?P<message>.*)"
_FIELDS = {"time": "timestamp", "thread": "int"}


def parse(*lines: str) -> ParsedLines:
    options = LogOptions.model_validate({"path": "x", "format": "regex", "pattern": _PATTERN, "fields": _FIELDS})
    return LogSource(options, None).reading().parser().parse(pa.array(lines, pa.string()))


def test_groups_become_typed_columns_and_a_group_that_took_no_part_is_null_unless_it_is_text() -> None:
    at = datetime(2024, 1, 1, tzinfo=UTC)
    assert parse("2024-01-01T00:00:00Z INFO [12] started", "- WARN -").batch.to_pylist() == [
        {"time": at, "level": "INFO", "thread": 12, "message": "started"},
        {"time": None, "level": "WARN", "thread": None, "message": None},
    ]


def test_the_pattern_must_match_the_whole_line() -> None:
    assert parse("x 2024-01-01T00:00:00Z info").dirty == [(0, "the line doesn't match the pattern")]
    assert parse("2024 INFO x").dirty == [(0, "time: '2024' is not a valid timestamp written as iso")]
    assert parse().batch.schema.names == ["time", "level", "thread", "message"]
