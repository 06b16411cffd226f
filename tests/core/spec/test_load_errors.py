from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.errors import SpecError
from millrace.spec import load_spec
from tests.core.spec.texts import DESIGN, HEAD, MINIMAL, SOURCE, TARGETS, diagnostics, errors, loaded, with_section

TABLE: Sequence[tuple[str, str]] = [
    # unknown and missing keys
    ("soruce: 1\n", "7:1: unknown key 'soruce', did you mean 'source'?"),
    ("limits: {chanels: 4}\n", "7:10: unknown key 'chanels', did you mean 'channels'?"),
    ("versions: {x: 4}\n", "7:12: unknown key 'x', expected one of keep"),
    ("alerts: [{on: late}]\n", "7:10: missing required key 'to'"),
    ("apis:\n  - kv: {cache: {}}\n", "8:5: missing required key 'name' of kv"),
    ("apis:\n  - kv: {cache: {}}\n", "8:10: missing required key 'ttl' of cache"),
    # units
    ("limits: {bytes_per_second: 50mib}\n", "did you mean '50MiB'?"),
    ("limits: {bytes_per_second: 0}\n", "7:28: expected more than 0, got the number 0"),
    ("limits: {timeout: 30 min}\n", "did you mean '30m'?"),
    ("limits: {timeout: 30}\n", "7:19: the duration 30 has no unit"),
    ("limits: {timeout: 0s}\n", "7:19: expected more than 0s, got '0s'"),
    ("limits: {dirty: {max_ratio: 5}}\n", "7:29: bad ratio 5, "),
    ("limits: {dirty: {max_ratio: 110%}}\n", "7:29: expected at most 1, got '110%'"),
    ("limits: {dirty: {}}\n", "7:17: 'dirty' needs 'max_rows', 'max_ratio' or both"),
    # numbers, texts, words
    ("limits: {channels: 0}\n", "7:20: expected at least 1, got the number 0"),
    ("limits: {channels: 5000}\n", "7:20: expected at most 1024, got the number 5000"),
    ("limits: {channels: many}\n", "7:20: expected a whole number, got 'many'"),
    ("limits: {channels: true}\n", "7:20: expected a whole number, got true"),
    ("limits: {channels: 1.5}\n", "7:20: expected a whole number, got the number 1.5"),
    ("limits: {rows_per_second: 99999999999999999999}\n", "7:27: expected at most"),
    ("limits: []\n", "7:9: expected a mapping, got a list"),
    ("limits:\n", "7:8: expected a mapping, got nothing"),
    ("owner: [a]\n", "7:8: expected a text, got a list"),
    ("owner: 5\n", "7:8: expected a text, got the number 5: put it in quotes"),
    ("owner: true\n", "7:8: expected a text, got true: put it in quotes"),
    ('owner: "a\\nb"\n', "7:8: expected one line of at most 200 printable characters"),
    ("priority: hihg\n", "7:11: expected high, medium, low, got 'hihg', did you mean 'high'?"),
    ("mode: upsert\n", "7:7: expected replace, merge, append, got 'upsert'"),
    ("deletes: id\n", "7:1: only 'mode: merge' deletes rows, the mode is 'replace'"),
    ("latest_by: id\n", "7:1: only 'mode: merge' keeps the latest of several rows, the mode is 'replace'"),
    ("mode: merge\nlatest_by: nam\n", "8:12: unknown column 'nam', did you mean 'name'?"),
    ("transform: [cast: {name: boolean}]\nmode: merge\nlatest_by: name\n", "is a boolean, expected a time, a date or"),
    ("versions: {keep: -1}\n", "7:18: expected at least 0, got the number -1"),
    ("transform: {where: x}\n", "7:12: expected a list, got a mapping"),
    # schedules
    ('schedule: "0 25 * * *"\n', "7:11: bad cron line '0 25 * * *': '25' is no hour, expected 0-23"),
    ('schedule: "0 * * *"\n', "it has 4 fields, expected 5 (minute, hour, day of month, month, day of week)"),
    ('schedule: "* * * * * *"\n', "it has 6 fields"),
    ('schedule: "0 0 31 2 *"\n', ""),
    ('schedule: "@dayly"\n', "unknown preset '@dayly', did you mean '@daily'?"),
    ("schedule: {after: [plays]}\n", "7:20: 'plays' can't run after itself"),
    ("schedule: {after: [a, a]}\n", "7:19: 'a' stands here twice"),
    ("schedule: {}\n", "7:11: a schedule has either 'cron' or 'after'"),
    ("schedule: {cron: 0 * * * *, timezone: Europe/Berln}\n", "did you mean 'Europe/Berlin'?"),
    ("schedule: {cron: 0 * * * *, timezone: ../../etc/passwd}\n", "unknown time zone '../../etc/passwd'"),
    ("schedule: {cron: 0 * * * *, catch_up: true}\n", "catch_up needs 'start'"),
    ("schedule: {cron: 0 * * * *, start: yesterday}\n", "expected a date such as '2026-01-31', got 'yesterday'"),
    # steps
    ("transform:\n  - wher: x\n", "8:5: unknown step 'wher', did you mean 'where'?"),
    ("transform:\n  - {}\n", "8:5: empty step, expected one of where, select, derive"),
    ("transform:\n  - where: a\n    sql: b\n", "9:5: one step has 'where' and 'sql': make each an item of the list"),
    ("transform: [where]\n", "7:13: expected a mapping, got 'where'"),
    ("transform:\n  - select: []\n", "8:13: expected at least 1 item"),
    ("transform:\n  - select: [id, id]\n", "8:13: 'id' stands here twice"),
    ("transform:\n  - select: ['']\n", "8:14: a column name has 1 to 255 printable characters"),
    ("transform:\n  - cast: {age: itn}\n", "8:17: unknown type 'itn', did you mean 'int'?"),
    ("transform:\n  - cast: {age: varchar}\n", "8:17: unknown type 'varchar', expected one of array, bigint"),
    ("transform:\n  - cast: {age: 'decimal(99)'}\n", "8:17: bad decimal 'decimal(99)'"),
    ("transform:\n  - dedupe: {key: [id], keep: latest}\n", "8:13: keep: latest needs 'by'"),
    ("transform:\n  - dedupe: {key: [id], keep: any, by: at}\n", "8:13: keep: any takes no 'by'"),
    ("transform:\n  - dedupe: {keep: newest}\n", "8:20: expected latest, earliest, any, got 'newest'"),
    ("transform:\n  - mask: {columns: [id], method: md5}\n", "8:35: expected hash or redact, got 'md5'"),
    ("transform:\n  - where: ''\n", "8:12: expected an SQL expression, got an empty text"),
    ("transform:\n  - where: [a]\n", "8:12: expected a text, got a list"),
    # checks
    ("checks:\n  - not_nul: [id]\n", "8:5: unknown check 'not_nul', did you mean 'not_null'?"),
    ("checks:\n  - zzz: [id]\n", "8:5: unknown check 'zzz', expected one of not_null, unique, between, in_set, row"),
    ("checks:\n  - {}\n", "8:5: empty check, expected one of not_null"),
    ("checks:\n  - unique: {columns: id, severity: wran}\n", "8:37: expected block, warn, quarantine, got 'wran'"),
    ("checks:\n  - unique: [id]\n    severity: warn\n", "9:5: 'severity' stands inside a check: {columns: [id], "),
    ("checks:\n  - unique: {column: id}\n", "8:14: unknown key 'column', did you mean 'columns'?"),
    ("checks:\n  - unique: 5\n", "8:13: expected a list, got the number 5"),
    ("checks:\n  - between: {column: age}\n", "8:14: 'between' needs 'min', 'max' or both"),
    ("checks:\n  - between: {column: age, min: 9, max: 1}\n", "8:14: 'min' (9) is larger than 'max' (1)"),
    ("checks:\n  - between: {column: age, min: a, max: 1}\n", "'min' and 'max' are of different kinds"),
    ("checks:\n  - between: {column: age, min: [1]}\n", "8:33: expected a number or a text"),
    ("checks:\n  - row_count: {}\n", "8:16: 'row_count' needs at least one of 'min', 'max' and 'change'"),
    ("checks:\n  - row_count: {min: 5, max: 2}\n", "'min' (5) is larger than 'max' (2)"),
    ("checks:\n  - row_count: {change: 20}\n", "did you mean '20%'?"),
    ("checks:\n  - in_set: {column: age, values: []}\n", "8:35: expected at least 1 item"),
    (
        "checks:\n  - expect_column_values_to_match_regx: {}\n",
        "8:5: unknown check 'expect_column_values_to_match_regx', did you mean 'expect_column_values_to_match_regex'?",
    ),
    ("checks:\n  - expect_column_max_to_be_between:\n", "expected a mapping with the arguments of expect_column_max"),
    ("checks:\n  - expect_column_max_to_be_between: {max_value: 1}\n", "8:5: missing required argument 'column'"),
    (
        "checks:\n  - expect_column_max_to_be_between: {column: age, max_valeu: 1}\n",
        "8:52: unknown argument 'max_valeu' of expect_column_max_to_be_between, did you mean 'max_value'?",
    ),
    (
        "checks:\n  - expect_column_max_to_be_between: {column: age, severity: wran}\n",
        "8:62: expected block, warn, quarantine, got 'wran'",
    ),
    ("checks:\n  - fresh: {column: age}\n", "8:5: missing required key 'within' of fresh"),
    ("checks:\n  - fresh: {column: age, within: 2}\n", "8:34: the duration 2 has no unit"),
    ("checks:\n  - fresh: {column: aeg, within: 2h}\n", "8:21: unknown column 'aeg', did you mean 'age'?"),
    ("checks:\n  - sql: {name: a, query: 'drop table stage'}\n", "expected one SELECT over the view 'stage'"),
    ("checks:\n  - sql: {name: a, query: 'select 1 from other'}\n", "this query reads 'other', not 'stage', the view"),
    ("checks:\n  - sql: {name: a, query: 'select aeg from stage'}\n", "unknown column 'aeg', did you mean 'age'?"),
    ("checks:\n  - sql: {name: a, on: source, query: 'select 1 from stage'}\n", "not 'source', the view"),
    ("checks:\n  - not_null: {columns: id, on: sauce}\n", "8:33: expected stage or source, got 'sauce', did you mean"),
    ("checks:\n  - not_null: {columns: [id], on: source, severity: quarantine}\n", "only rows of the stage can be qu"),
    ("checks:\n  - row_count: {change: 5%, on: source}\n", "'change' compares with the current version's rows, so"),
    ("checks:\n  - drift: {measure: men, columns: age, ratio: 1%}\n", "8:22: expected row_count, null_share, mean, "),
    ("checks:\n  - drift: {measure: mean, ratio: 1%}\n", "'mean' is measured of columns: name them under 'columns'"),
    ("checks:\n  - drift: {measure: row_count, columns: age, ratio: 1%}\n", "leave 'columns' out"),
    ("checks:\n  - drift: {measure: row_count, ratio: 1%, deviations: 2}\n", "'drift' needs either 'ratio' or 'dev"),
    ("checks:\n  - drift: {measure: mean, columns: aeg, ratio: 1%}\n", "unknown column 'aeg', did you mean 'age'?"),
    ("checks:\n  - reconcile: {}\n", "'reconcile' needs at least one of 'rows', 'sum' and 'sample'"),
    ("checks:\n  - reconcile: {rows: exactly}\n", "8:23: expected 'exact' or a ratio such as '0.1%', got 'exactly'"),
    ("checks:\n  - reconcile: {sum: aeg}\n", "unknown column 'aeg', did you mean 'age'?"),
    ("checks:\n  - reconcile: {sample: 0}\n", "8:25: expected at least 1, got the number 0"),
    # alerts, versions, names
    ("alerts: [{on: [check_faild], to: x}]\n", "7:16: expected check_failed, check_warned, run_failed, late, "),
    ("alerts: [{on: [check_faild], to: x}]\n", "did you mean 'check_failed'?"),
    ("apis:\n  - kv: {name: Bad-Name}\n", "8:16: a name has lower-case letters, digits and _, starts with a letter"),
    ("apis:\n  - kv: {name: Bad-Name}\n", "did you mean 'bad_name'?"),
    ("apis:\n  - kv: {name: a}\n  - kv: {name: a}\n", "9:16: duplicate API name 'a', first in apis[0]"),
    ("apis:\n  - kv: {name: a, target: rediss}\n", "8:27: unknown target 'rediss', did you mean 'redis'?"),
    ("apis:\n  - sql: {name: a}\n", "8:5: none of the targets (redis) can be queried"),
    ("apis:\n  - sql: {name: a, target: redis}\n", "8:28: the target 'redis' can't be queried"),
    ("apis:\n  - kv: {name: a, range: {start: id, end: id}}\n", "'start' and 'end' are the same column"),
    ("apis:\n  - union: {name: a, parts: [{api: b}, {api: b}]}\n", "two parts are named 'b'"),
    ("apis:\n  - union: {name: a, parts: []}\n", "8:29: expected at least 1 item"),
    ("test: {connections: {evnts: x}}\n", "7:22: no source or target of this spec uses the connection 'evnts'"),
    ("test: {connections: {evnts: x}}\n", "did you mean 'events'?"),
]  # fmt: skip


@pytest.mark.parametrize(("section", "expected"), TABLE)
def test_an_error_says_where_what_was_expected_and_what_was_probably_meant(section: str, expected: str) -> None:
    found = errors(with_section(section))
    assert any(expected in error for error in found) or (not expected and not found), "\n".join(found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["1:1: expected a mapping with 'version', 'asset', 'source' and 'targets', got an empty file"]),
        ("- a\n", ["1:1: expected a mapping with 'version', 'asset', 'source' and 'targets', got a list"]),
        (
            "# nothing much\nversion: 1\n",
            [
                "2:1: missing required key 'asset'",
                "2:1: missing required key 'source'",
                "2:1: missing required key 'targets'",
            ],
        ),
        (HEAD + TARGETS + "soruce: {}\n", ["5:1: unknown key 'soruce', did you mean 'source'?"]),
        (HEAD + TARGETS + "source:\n", ["5:8: expected a mapping, got nothing"]),
        (
            HEAD + TARGETS + "source: {}\n",
            ["5:1: empty source, expected one of"],
        ),
        (
            HEAD + TARGETS + "source:\n  kafka: {connection: a, topic: t}\n  lake: {path: x}\n",
            ["7:3: several sources, kafka and lake: an asset has exactly one"],
        ),
        (HEAD + TARGETS + "source: {kafak: {}}\n", ["5:10: unknown source 'kafak', did you mean 'kafka'?"]),
        (HEAD + TARGETS + "source: {redis: {}}\n", ["5:10: 'redis' is a target and can't be a source, "]),
        (HEAD + SOURCE + "targets: [{kafka: {}}]\n", ["5:12: 'kafka' is a source and can't be a target, "]),
        (HEAD + SOURCE + "targets: []\n", ["5:10: expected at least 1 item"]),
        (
            HEAD + SOURCE + TARGETS + '  - redis: {connection: b, key: "{id}"}\n',
            ["7:5: duplicate target name 'redis', first in targets[0]: give one of them a 'name' beside it"],
        ),
        (HEAD + SOURCE + "targets:\n  - redis: {connection: b}\n", ["6:5: missing required key 'key' of redis"]),
        ("version: 2\nasset: 5\n" + SOURCE + TARGETS, ["1:10: expected 1, got the number 2", "2:8: expected a text"]),
        ("version: 1\nasset: '../../etc'\n" + SOURCE + TARGETS, ["2:8: a name has lower-case letters"]),
    ],
)  # fmt: skip
def test_what_is_missing_or_too_much_at_the_top(text: str, expected: list[str]) -> None:
    found = errors(text)
    assert len(found) == len(expected), found
    for error, start in zip(found, expected, strict=True):
        assert error.startswith(start)


def test_all_errors_of_a_file_come_at_once_in_the_order_of_the_file() -> None:
    found = errors(
        "version: 1\n"
        "asset: Plays\n"
        "prioritty: high\n"
        "schedule: never\n"
        "source:\n"
        "  kafka: {connection: events, topic: plays, schema: {id: bigint, name: string}}\n"
        "transform:\n"
        '  - where: "agee >= 0"\n'
        "  - derive: {x: 1 +}\n"
        "checks:\n"
        "  - not_null: [id, nmae]\n"
        "  - row_count: {}\n"
        "targets:\n"
        '  - redis: {connection: online, key: "{idd}", ttl: 7}\n'
        "owner: ${OWNER}\n"
    )
    assert [error.split(" ", 1)[0] for error in found] == [
        "2:8:",
        "3:1:",
        "4:11:",
        "8:13:",
        "9:19:",
        "11:20:",
        "12:16:",
        "14:52:",
        "15:8:",
    ]


def test_an_error_in_one_part_doesnt_hide_those_of_the_columns() -> None:
    found = errors(MINIMAL + "limits: {channels: x}\nchecks:\n  - unique: [naem]\n")
    assert found[1] == "9:14: unknown column 'naem', did you mean 'name'?"


def test_what_follows_from_an_unreadable_value_alone_is_not_told() -> None:
    assert errors(MINIMAL.replace("asset: plays", "asset: ${ASSET}")) == [
        "2:8: the environment variable ASSET is not set and has no default (${ASSET:-default})"
    ]
    assert errors(MINIMAL.replace("asset: plays", "asset: *x")) == [
        "2:8: aliases (*name) are not part of a spec: write the value out"
    ]


def test_the_value_of_a_variable_is_never_shown() -> None:
    [error] = errors(with_section("priority: ${PRIORITY}\n"), {"PRIORITY": "hunter2"})
    assert error == "7:11: expected high, medium, low, got the value of ${PRIORITY}"


def test_shown_in_full_an_error_has_its_line_a_caret_and_its_path() -> None:
    [diagnostic] = diagnostics(with_section("limits: {chanels: 4}\n"))
    assert diagnostic.full() == (
        "user.yaml:7:10: unknown key 'chanels', did you mean 'channels'?  (at limits.chanels)\n"
        "    7 | limits: {chanels: 4}\n"
        "      |          ^^^^^^^"
    )


def test_in_a_very_long_line_the_place_is_still_in_sight() -> None:
    [diagnostic] = diagnostics(with_section("limits: {" + " " * 5000 + "chanels: 4}\n"))
    assert diagnostic.column == 5010
    _, line, caret = diagnostic.full().split("\n")
    assert len(line) < 130
    assert line[caret.index("^") :].startswith("chanels")


def test_the_message_of_the_exception_lists_all_errors() -> None:
    with pytest.raises(SpecError) as caught:
        loaded(with_section("ownr: x\nmode: no\n"))
    assert caught.value.message == (
        "the spec user.yaml has 2 errors\n"
        "user.yaml:7:1: unknown key 'ownr', did you mean 'owner'?\n"
        "user.yaml:8:7: expected replace, merge, append, got 'no'"
    )
    assert caught.value.exit_code == 2


HOSTILE = ["a'b", 'a"b', "a\nb", "{{ ds }}", "$(rm -rf /)", "a;b", "a b", "A", "1a", "_a", "ä", "a" * 64, ""]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_of_assets_are_refused(name: str) -> None:
    quoted = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    found = errors(MINIMAL.replace("asset: plays", f'asset: "{quoted}"'))
    assert len(found) == 1
    assert found[0].startswith("2:8: a name has lower-case letters, digits and _, starts with a letter")


def test_a_huge_file_is_refused_without_being_parsed(tmp_path: Path) -> None:
    path = tmp_path / "huge.yaml"
    path.write_bytes(b"a: [" + b"x, " * (10 << 20) + b"]")
    with pytest.raises(SpecError, match="it may have 1048576 bytes at most"):
        load_spec(path)


WORDS = """version: 1|asset: plays|source:|kafka:|{connection: a, topic: b}|targets:|- redis:|checks:|- where: |a >= |
- unique: [id]|limits: |{channels: 4}|- |  |${X}|null|5|30m""".replace("\n", "").split("|")
words = st.sampled_from([*WORDS, "\n", "\n  "])


@given(st.text() | st.binary() | st.lists(words, max_size=25).map("".join))
def test_arbitrary_text_is_a_spec_or_a_spec_error_with_places_inside_the_file(content: str | bytes) -> None:
    for diagnostic in diagnostics(content):
        assert diagnostic.full()
        assert 1 <= diagnostic.column <= len(diagnostic.source_line) + 1


@given(st.data())
def test_a_damaged_spec_never_crashes_the_loader(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(DESIGN)))
    length = data.draw(st.integers(0, 30))
    piece = data.draw(st.text(st.sampled_from(" \n:{}[]'\"-,#&*!|>%@$a0"), max_size=8))
    lines = DESIGN.count("\n") + piece.count("\n") + 1
    for diagnostic in diagnostics(DESIGN[:start] + piece + DESIGN[start + length :]):
        assert 1 <= diagnostic.line <= lines
        assert 1 <= diagnostic.column <= len(diagnostic.source_line) + 1


def test_a_source_of_changes_cannot_replace() -> None:
    log = "source:\n  log: {path: /logs/*.log, read: new}\n"
    spec = f"version: 1\nasset: plays\n{log}targets:\n  - redis: {{connection: r, key: '{{host}}'}}\n"
    assert errors(spec) == [
        "4:28: only what is new is read, so 'mode: replace' would drop all older rows: set 'mode: merge' or 'append'"
    ]
    assert not errors(spec + "mode: merge\n")
