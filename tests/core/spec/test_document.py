from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from millrace.spec.diagnostics import Problem
from millrace.spec.document import MAX_BYTES, MAX_DEPTH, Document, Unreadable, read_document


def read(text: str | bytes, **env: str) -> Document:
    return read_document(text, "user.yaml", env)


def problems(text: str | bytes, **env: str) -> list[str]:
    document = read(text, **env)
    return [str(d).removeprefix("user.yaml:") for d in document.diagnostics(document.problems)]


def unreadable(text: str | bytes) -> str:
    with pytest.raises(Unreadable) as caught:
        read(text)
    return str(caught.value).removeprefix("user.yaml:")


def place(document: Document, problem: Problem) -> tuple[int, int, int]:
    found = document.diagnostic(problem)
    return found.line, found.column, found.length


def test_a_key_on_is_a_key_and_keys_are_always_text() -> None:
    assert read("alerts: [{on: late, 1: a, null: b, true: c, ~: d}]").data == {
        "alerts": [{"on": "late", "1": "a", "null": "b", "true": "c", "~": "d"}]
    }


def test_quotes_make_text_of_what_would_be_a_number() -> None:
    assert read("a: '5'\nb: \"true\"\nc: 5\nd: |\n  5\n").data == {"a": "5", "b": "true", "c": 5, "d": "5\n"}


def test_variables_are_filled_in_before_a_plain_scalar_is_read() -> None:
    document = read("channels: ${N}\ntext: '${N}'\nblock: |\n  ${N}\n", N="4")
    assert document.data == {"channels": 4, "text": "4", "block": "4\n"}


def test_a_variables_value_is_never_yaml() -> None:
    document = read("a: ${X}\nb: 1", X="1}\nc: [")
    assert document.data == {"a": "1}\nc: [", "b": 1}


def test_keys_are_not_interpolated() -> None:
    assert read("${X}: 1", X="a").data == {"${X}": 1}


def test_an_empty_file_holds_nothing() -> None:
    for text in ("", "\n\n", "# only a comment\n", "---\n", "---\n...\n"):
        assert read(text).data is None


def test_byte_order_mark_and_windows_line_ends_are_harmless() -> None:
    document = read(b"\xef\xbb\xbfa: 1\r\nb:\r\n  - x\r\n")
    assert document.data == {"a": 1, "b": ["x"]}
    assert place(document, Problem(("b", 0), "")) == (3, 5, 1)
    assert read("\ufeffa: 1").data == {"a": 1}


PLACES = """\
source:
  mysql: {table: users, columns: [id, 'na''me']}
where: "a \\"b\\" \\x41c"
block: |
  first line
    second
folded: >-
  one
  two three
plain: some words
  over lines
"""


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        (Problem(("source",), "", on_key=True), (1, 1, 6)),
        (Problem(("source", "mysql"), "", on_key=True), (2, 3, 5)),
        (Problem(("source", "mysql"), ""), (2, 10, 1)),
        (Problem(("source", "mysql", "columns", 1), ""), (2, 39, 8)),
        (Problem(("source", "mysql", "columns", 1), "", offset=3, length=2), (2, 44, 2)),
        (Problem(("source", "mysql", "columns"), "", name="id"), (2, 35, 2)),
        (Problem(("source", "mysql", "nothing", "like", "that"), ""), (2, 10, 1)),
        (Problem((), ""), (1, 1, 1)),
        (Problem(("where",), "", offset=2, length=3), (3, 11, 5)),
        (Problem(("where",), "", offset=7, length=1), (3, 21, 1)),
        (Problem(("where",), "", offset=6, length=1), (3, 17, 4)),
        (Problem(("block",), "", offset=6, length=4), (5, 9, 4)),
        (Problem(("block",), "", offset=13, length=6), (6, 5, 6)),
        (Problem(("folded",), "", offset=8, length=5), (9, 7, 5)),
        (Problem(("plain",), "", offset=11, length=4), (11, 3, 4)),
    ],
)
def test_every_key_value_and_part_of_a_text_has_its_place(problem: Problem, expected: tuple[int, int, int]) -> None:
    assert place(read(PLACES), problem) == expected


def test_a_place_behind_a_variable_is_that_of_the_whole_value() -> None:
    document = read('a: "x > ${N} and y"', N="123456")
    assert place(document, Problem(("a",), "", offset=0, length=1)) == (1, 5, 1)
    assert place(document, Problem(("a",), "", offset=15, length=1)) == (1, 4, 16)


NOT_SET = "the environment variable NO is not set and has no default (${NO:-default})"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3", ["3:1: duplicate key 'a', first at line 1"]),
        ("{a: 1, a: 2, a: 3}", ["1:8: duplicate key 'a', first at line 1", "1:14: duplicate key 'a', first at line 1"]),
        ("a: &x 1", ["1:4: anchors (&x) are not part of a spec"]),
        ("a: *x", ["1:4: aliases (*name) are not part of a spec: write the value out"]),
        ("a: !!python/object:os x", ["1:4: tags (tag:yaml.org,2002:python/object:os) are not part of a spec"]),
        ("a: ! x", ["1:4: tags (!) are not part of a spec"]),
        ("a: 010", ["1:4: a number can't start with 0: write '010' in quotes as text, or 10"]),
        ("a: x${NO}", [f"1:5: {NOT_SET}"]),
        ("a: 1\na: ${NO}", ["2:1: duplicate key 'a', first at line 1", f"2:4: {NOT_SET}"]),
    ],
)
def test_what_a_spec_cant_hold_is_refused_at_its_place(text: str, expected: list[str]) -> None:
    assert problems(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [1, 2\nb: 3\n", "2:2: expected ',' or ']': this list is not closed (it starts at line 1, column 4)"),
        ("a: {b: 1\n", "2:1: expected ',' or '}': this mapping is not closed (it starts at line 1, column 4)"),
        ("a: 'x\n", "2:1: this text in quotes is not closed (it starts at line 1, column 4)"),
        ("a:\n\t- 1\n", "2:1: a tab can't indent a line: use spaces"),
        ("a: @x", "1:4: a text that starts with '@' needs quotes"),
        ("a: %x", "1:4: a text that starts with '%' needs quotes"),
        ("a: b: c", "1:5: unexpected ':' here: check the indentation, or put a text with ': ' in quotes"),
        ('a: "\\q"', "1:5: unknown escape in double quotes: write \\\\ for a backslash, or use single quotes"),
        ("a: {{ ds }}", "1:5: a key must be a plain word; a value that starts with '{' or '[' needs quotes"),
        ("? [a]\n: 1", "1:3: a key must be a plain word; a value that starts with '{' or '[' needs quotes"),
        ("<<: {a: 1}", "1:1: merge keys (<<) are not part of a spec: write the keys out"),
        ("a: 1\n---\nb: 2", "2:1: a spec is one document: only one asset in a file, and no second '---'"),
        ("&a b: 1", "1:1: anchors and tags are not part of a spec"),
        ("a: 1\nb: \x00", "2:4: the character U+0000 is not allowed"),
        ("a: \x1b[0m", "1:4: the character U+001B is not allowed"),
        ("a: \ud800", "1:4: the character U+D800 is not allowed"),
        (b"a: 1\nb: \xff", "2:4: the byte 0xFF is not UTF-8: save the file as UTF-8"),
        (b"\xff\xfea\x00", "1:1: the byte 0xFF is not UTF-8: save the file as UTF-8"),
    ],
)
def test_what_is_no_yaml_gives_one_error_in_our_words(text: str | bytes, expected: str) -> None:
    assert unreadable(text) == expected


def test_size_depth_and_number_of_values_are_bounded() -> None:
    assert f"it may have {MAX_BYTES} bytes at most" in unreadable(b"a" * (10 << 20))
    assert f"nested deeper than {MAX_DEPTH} levels" in unreadable("a: " + "[" * 5000)
    assert f"nested deeper than {MAX_DEPTH} levels" in unreadable("- " * 5000)
    assert "values" in unreadable("[" + "1," * 300_000 + "1]")


def test_a_billion_laughs_are_refused_at_the_first() -> None:
    bomb = "a: &a [x, x]\n"
    for before, name in zip("abcdefghijklmnop", "bcdefghijklmnopq", strict=True):
        bomb += f"{name}: &{name} [*{before}, *{before}]\n"
    assert problems(bomb)[0] == "1:4: anchors (&a) are not part of a spec"


# PyYAML writes such texts without quotes, as YAML 1.1 may; in YAML 1.2 they are numbers.
number_of_1_2 = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|0o[0-7]+|0x[0-9a-fA-F]+")
texts = st.text(st.characters(exclude_categories=["Cc", "Cs"], max_codepoint=0x2FF)).filter(
    lambda text: "${" not in text and not number_of_1_2.fullmatch(text)
)
keys = st.text("abcdefg ", min_size=1, max_size=5).filter(lambda key: key.strip() == key)
trees: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=20,
)


@given(trees, st.booleans())
def test_plain_data_written_as_yaml_is_read_back(tree: Any, in_flow_style: bool) -> None:
    text = yaml.safe_dump({"root": tree}, allow_unicode=True, default_flow_style=in_flow_style)
    assert read(text).data == {"root": tree}


@given(st.text() | st.binary())
def test_any_input_is_read_or_refused_inside_the_file(content: str | bytes) -> None:
    try:
        document = read(content)
        found = document.diagnostics(document.problems)
    except Unreadable as error:
        found = (error.diagnostic,)
    text = content if isinstance(content, str) else content.decode("utf-8", errors="replace")
    for diagnostic in found:
        assert diagnostic.full()
        assert 1 <= diagnostic.column <= len(diagnostic.source_line) + 1
        assert 1 <= diagnostic.line <= len(text) + 1


yaml_like = st.lists(
    st.sampled_from(
        [*":-[]{}'\"|>&*!#%@,?~ \n\t", "a", "b: ", "- ", "\n  ", "${A}", "${", "<<: ", "0123", ".inf", "é", "---\n"]
    ),
    max_size=40,
).map("".join)


@given(yaml_like)
def test_broken_yaml_never_gets_through_unplaced(text: str) -> None:
    try:
        document = read(text, A="x")
    except Unreadable as error:
        assert error.diagnostic.line <= text.count("\n") + 1  # noqa: PT017 (the error's place is what is tested)
    else:
        for diagnostic in document.diagnostics(document.problems):
            assert diagnostic.line <= text.count("\n") + 1
