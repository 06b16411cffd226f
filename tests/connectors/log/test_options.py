"""What a spec may say of log files, and what it is told when it says it wrong."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from millrace.connectors.log import connector
from millrace.connectors.log.options import LogOptions

_REGEX = {"path": "x", "format": "regex"}


def columns(**options: Any) -> list[str]:
    known = LogOptions.model_validate({"path": "x", **options}).known_columns()
    return [str(c) for c in known or ()]


def test_columns_are_known_from_the_options_alone() -> None:
    assert columns() == [
        "host string",
        "ident string",
        "user string",
        "time timestamp",
        "method string",
        "path string",
        "protocol string",
        "status int",
        "bytes bigint",
        "referer string",
        "agent string",
    ]
    assert columns(format="json", fields={"id": "bigint", "at": {"type": "timestamp", "format": "epoch"}}) == [
        "id bigint",
        "at timestamp",
    ]
    assert columns(format="csv", fields={"a": "int", "b": {}}) == ["a int", "b string"]
    assert columns(format="regex", pattern="(?P<b>.)(?P<a>.)", fields={"a": "int"}) == ["b string", "a int"]
    assert LogOptions.model_validate({"path": "x", "format": "csv", "header": True}).known_columns() is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"path": []}, "at least 1 item"),
        ({"path": "x", "fields": {"a": "int"}}, "`format: combined` has its own fields"),
        ({"path": "x", "format": "json"}, "`format: json` needs `fields`"),
        ({"path": "x", "format": "csv"}, "needs `header: true`, or `fields`"),
        ({"path": "x", "pattern": "x"}, "`pattern` is for `format: regex`"),
        ({"path": "x", "format": "json", "fields": {"a": "int"}, "delimiter": ";"}, "`delimiter` is for `format: csv`"),
        ({"path": "x", "format": "csv", "header": True, "delimiter": '"'}, "the same character"),
        ({"path": "x", "format": "csv", "header": True, "delimiter": "§"}, "must be one ASCII character"),
        (_REGEX, "needs `pattern`"),
        ({**_REGEX, "pattern": "(?P<a>"}, "bad pattern"),
        ({**_REGEX, "pattern": "abc"}, "has no named group"),
        ({**_REGEX, "pattern": "(?P<a>.)(b)"}, "a group without a name"),
        ({**_REGEX, "pattern": "(?P<a>.)(?=b)"}, "bad pattern for RE2"),
        (
            {**_REGEX, "pattern": "(?P<a>.)", "fields": {"b": "int"}},
            "'b', which is no group of the pattern; there are: a",
        ),
        ({"path": "x", "format": "csv", "fields": {"a": "array<int>"}}, "only `format: json` can hold"),
        ({"path": "x", "format": "json", "fields": {"a": "map<string,int>"}}, "map can't be read inside a JSON field"),
        ({"path": "x", "format": "json", "fields": {"a": "array<date>"}}, "date can't be read inside a JSON field"),
        ({"path": "x", "format": "json", "fields": {"a": {"type": "int", "format": "iso"}}}, "`format` is for dates"),
        ({"path": "x", "format": "json", "fields": {"a": {"type": "timestamp", "format": "%Q"}}}, "unknown directive"),
        ({"path": "x", "format": "json", "fields": {"a": {"type": "timestamp", "zone": "Mars"}}}, "unknown time zone"),
        ({"path": "x", "format": "json", "fields": {"a": {"type": "date", "zone": "Europe/Paris"}}}, "`zone` is for"),
        ({"path": "x", "format": "json", "fields": {"a": "txt"}}, "unknown type 'txt'"),
        ({"path": "x", "encoding": "klingon"}, "unknown encoding"),
        ({"path": "x", "encoding": "utf-16"}, "can't be split into lines"),
        ({"path": "x", "max_line_bytes": "1GiB"}, "less than or equal"),
        ({"path": "x", "frobnicate": 1}, "Extra inputs"),
    ],
)
def test_what_does_not_fit_is_explained(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        LogOptions.model_validate(options)


def test_every_option_is_described_and_has_a_default_or_an_example() -> None:
    assert connector.source is not None
    for name, option in connector.source.options.model_fields.items():
        assert option.description, name
        assert option.examples or not option.is_required(), name
