"""The combined log format, by column: the quick way decides nothing that the pattern would decide otherwise."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.data import BAD_LINES, ODD_LINES, access_log
from millrace.connectors.log import combined
from millrace.connectors.log.combined import CombinedParser
from millrace.connectors.log.options import LogOptions
from millrace.connectors.log.source import LogSource
from millrace.connectors.log.typed import ParsedLines, assemble

_FIELDS = LogSource(LogOptions(path=("x",)), None).reading().fields
_USUAL = (
    '83.149.9.216 - - [17/May/2015:10:05:03 +0200] "GET /a?b=c HTTP/1.1" 200 203023'
    ' "http://semicomplete.com/" "Mozilla/5.0 (X11)"'
)
_DAY = datetime(2024, 5, 1, 10, tzinfo=UTC)


def parse(lines: list[str]) -> ParsedLines:
    return CombinedParser(_FIELDS).parse(pa.array(lines, pa.string()))


def row(line: str | bytes) -> dict[str, Any]:
    parsed = parse([line.decode() if isinstance(line, bytes) else line])
    assert not parsed.dirty
    return dict(parsed.batch.to_pylist()[0])


def parse_by_pattern(lines: list[str]) -> ParsedLines:
    rows, missed = combined._by_pattern(pa.array(lines, pa.string()), np.arange(len(lines)))
    return assemble(_FIELDS, rows.texts, rows.lines, [(int(line), "") for line in missed])


def same(first: ParsedLines, second: ParsedLines) -> bool:
    """The same rows in any order, and the same lines dirty."""
    rows = [sorted(map(repr, parsed.batch.to_pylist())) for parsed in (first, second)]
    dirty = [[line for line, _ in parsed.dirty] for parsed in (first, second)]
    return rows[0] == rows[1] and dirty[0] == dirty[1]


def test_a_usual_line_has_all_its_fields() -> None:
    assert row(_USUAL) == {
        "host": "83.149.9.216",
        "ident": None,
        "user": None,
        "time": datetime(2015, 5, 17, 8, 5, 3, tzinfo=UTC),
        "method": "GET",
        "path": "/a?b=c",
        "protocol": "HTTP/1.1",
        "status": 200,
        "bytes": 203023,
        "referer": "http://semicomplete.com/",
        "agent": "Mozilla/5.0 (X11)",
    }


@pytest.mark.parametrize(
    ("line", "expected"),
    list(
        zip(
            ODD_LINES,
            [
                {"user": "alice", "time": datetime(2024, 5, 1, 8, tzinfo=UTC), "protocol": "HTTP/2.0", "referer": None},
                {"user": "alice smith", "time": datetime(2024, 5, 1, 13, 30, tzinfo=UTC)},
                {
                    "method": None,
                    "path": None,
                    "protocol": None,
                    "status": 408,
                    "bytes": None,
                    "agent": None,
                    "time": _DAY,
                },
                {"method": None, "path": r"\x16\x03\x01\x02", "protocol": None, "status": 400},
                {"method": "GET", "path": "/a b c", "protocol": "HTTP/1.1"},
                {"method": "GET", "path": "/old", "protocol": None},
                {"path": r"/q?a=\"b\"", "referer": r"http://x/\"y\"", "agent": r"say \"hi\""},
                {"method": "PROPFIND", "path": "/dav/", "referer": "", "agent": ""},
                {"host": "2001:db8::1", "path": "/münchen/🏭", "agent": "ü"},
                {"method": None, "path": "", "protocol": None},
            ],
            strict=True,
        )
    ),
)
def test_an_odd_line_is_read_as_it_stands(line: bytes, expected: dict[str, Any]) -> None:
    found = row(line)
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("line", "reason"),
    list(
        zip(
            [line for line in BAD_LINES if b"\xff" not in line],
            [
                "the line is not in the combined log format",
                "the line is not in the combined log format",
                "time: '31/Apr/2024:10:00:00 +0000' is not a valid timestamp written as %d/%b/%Y:%H:%M:%S %z",
                "time: '01/May/2024:25:00:00 +0000' is not a valid timestamp written as %d/%b/%Y:%H:%M:%S %z",
                "status: 'abc' is not a valid int",
                "bytes: '99999999999999999999' is not a valid bigint",
                "the line is not in the combined log format",
            ],
            strict=True,
        )
    ),
)
def test_a_bad_line_is_dirty_and_says_why(line: bytes, reason: str) -> None:
    parsed = parse([_USUAL, line.decode(), _USUAL])
    assert (parsed.batch.num_rows, parsed.dirty) == (2, [(1, reason)])


def test_no_lines_are_no_rows() -> None:
    assert parse([]).batch.schema == parse([_USUAL]).batch.schema


def test_generated_logs_are_read_alike_in_both_ways(tmp_path: Path) -> None:
    access_log(tmp_path / "log", 5_000, seed=1, odd=0.2, bad=0.1)
    lines = (tmp_path / "log").read_text(errors="replace").splitlines()
    assert same(parse(lines), parse_by_pattern(lines))


_PIECES = st.sampled_from(
    [
        "1.2.3.4",
        " - - ",
        " - ",
        "bob",
        " [17/May/2015:10:05:03 +0200] ",
        " [",
        "] ",
        '"',
        '" "',
        '"GET / HTTP/1.1"',
        "GET ",
        " HTTP/1.1",
        "/x y",
        " 200 12 ",
        " 200 - ",
        " 20 1 ",
        "-",
        '"-"',
        "\\",
        '\\"',
        " ",
        "é",
        '"ua"',
    ]
)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.lists(_PIECES, min_size=1, max_size=14).map("".join), max_size=8))
def test_lines_made_of_the_formats_pieces_are_read_alike_in_both_ways(lines: list[str]) -> None:
    assert same(parse(lines), parse_by_pattern(lines))


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(st.integers(0, len(_USUAL)), st.integers(0, 3), st.sampled_from(' "-[]\\x1/:')), max_size=6))
def test_a_usual_line_with_characters_changed_is_read_alike_in_both_ways(changes: list[tuple[int, int, str]]) -> None:
    lines = [_USUAL[:at] + character + _USUAL[at + cut :] for at, cut, character in changes]
    assert same(parse(lines), parse_by_pattern(lines))
