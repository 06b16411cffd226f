"""Values of the data interval in a spec's texts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.errors import SpecError
from millrace.spec import model, parse_spec
from millrace.spec.interval import Interval, fill_in, has_template, problems

DAY = Interval(datetime(2026, 3, 1, 6, 30, tzinfo=UTC), datetime(2026, 3, 2, 6, 30, tzinfo=UTC))
SPEC = """
version: 1
asset: visits
source:
  log: {{path: "/logs/{path}/*.gz", format: json, fields: {{id: bigint, day: string}}}}
transform:
  - where: "{where}"
targets:
  - redis: {{connection: store, key: "{{id}}"}}
"""


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("s3a://logs/{{ ds }}/*.gz", "s3a://logs/2026-03-01/*.gz"),
        ("{{ds_nodash}}-{{ ts_nodash }}", "20260301-20260301T063000"),
        ("{{ ts }}", "2026-03-01T06:30:00+00:00"),
        ("{{ data_interval_start }} {{ data_interval_end }}", "2026-03-01T06:30:00+00:00 2026-03-02T06:30:00+00:00"),
        ("year=%Y/{{ data_interval_end | %Y/%m/%d/%H }}", "year=%Y/2026/03/02/06"),
        ("nothing {here} }}{{", "nothing {here} }}{{"),
    ],
)
def test_values_of_the_interval_are_filled_in(text: str, filled: str) -> None:
    assert fill_in(text, DAY) == filled


def test_times_are_those_of_utc() -> None:
    zone = timezone(timedelta(hours=-8))
    assert fill_in("{{ ds }}", Interval(datetime(2026, 2, 28, 20, tzinfo=zone), DAY.end)) == "2026-03-01"


def test_a_spec_is_filled_in_wherever_its_texts_stand() -> None:
    spec = parse_spec(SPEC.format(path="{{ ds }}", where="day = '{{ ds_nodash }}'"))
    assert has_template(spec.source.options)
    assert fill_in(spec.transform, DAY) == (model.Where("day = '20260301'"),)
    assert fill_in(spec.source.options, DAY).model_dump()["path"] == ("/logs/2026-03-01/*.gz",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ dss }}", "unknown value 'dss' in {{ }}, did you mean 'ds'?"),
        ("{{ ds.__class__ }}", "unknown value"),
        ("{{ config['x'] }}", "unknown value"),
        ("{{ ds | upper }}", "'upper' is no time's format"),
        ("{{ ds | %Y'; drop table users; -- }}", "is no time's format"),
        ("{{ }}", "unknown value ''"),
    ],
)
def test_anything_else_in_braces_is_an_error_where_it_stands(text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(SPEC.format(path=text, where="true"))
    assert any(message in d.message and d.line == 5 for d in caught.value.diagnostics)


@given(st.text(alphabet="{}|% dsYm;'\"()_.x\n", max_size=40))
def test_what_is_filled_in_is_never_more_than_a_time(text: str) -> None:
    if not list(problems(text)):
        filled = fill_in(text, DAY)
        assert not has_template(filled) or "{{" in text
