"""docs/druid.md says what is so."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from millrace.connectors.druid.endpoint import DEFAULT_TIMEOUT_S, PARAMS
from millrace.connectors.druid.layout import FILE_BYTES, dimension_spec
from millrace.connectors.druid.options import DruidOptions, MetricKind, Stream
from millrace.spec.types import Column, Kind, parse_type

PAGE = (Path(__file__).parents[3] / "docs/druid.md").read_text(encoding="utf-8")


def table(title: str) -> list[list[str]]:
    """The cells of the table whose head's first cell is `title`."""
    (rows,) = re.findall(rf"^\| {title} \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in rows.splitlines()]


def names(title: str) -> list[str]:
    return [name for row in table(title) for name in re.findall(r"`([^`]+)`", row[0])]


def test_its_examples_are_valid() -> None:
    for text in re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        (entry,) = yaml.safe_load(text)["targets"]
        assert DruidOptions.model_validate(entry["druid"]).base("x") == "plays"


def test_its_options_are_the_ones_that_there_are() -> None:
    assert names("option") == list(DruidOptions.model_fields)
    assert sorted(names("option of `stream`")) == sorted(Stream.model_fields)
    assert names("parameter") == list(PARAMS)
    assert names("metric") == list(MetricKind)
    assert f"`{DEFAULT_TIMEOUT_S / 60:.0f}m` by default" in PAGE
    assert f"one for each {FILE_BYTES >> 20} MiB" in PAGE


def test_its_types_are_the_ones_that_are_made() -> None:
    options = DruidOptions(connection="c", timestamp="at")
    for ours, druid in table("column"):
        made = dimension_spec(Column("c", parse_type(ours.strip("`"))), options)
        assert re.match(r"`([^`]+)`", druid)[1] == made.get("castToType", made["type"])  # type: ignore[index]  # a mismatch fails the test
    shown = {parse_type(name.strip("`")).kind for name, _ in table("column")}
    assert shown >= set(Kind) - {Kind.TINYINT, Kind.SMALLINT, Kind.INT, Kind.TIMESTAMP_NTZ, Kind.STRUCT}
