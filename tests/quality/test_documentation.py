"""What docs/checks.md shows is what happens."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from millrace.quality import explain, run_checks, validate_arguments
from millrace.spec.load import parse_spec
from millrace.spec.model import Check

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PAGE = (Path(__file__).parents[2] / "docs" / "checks.md").read_text(encoding="utf-8")
SPEC = """
version: 1
asset: people
source:
  log: {path: people.json, format: json, fields: {id: bigint, name: string, age: int, city: string}}
targets:
  - redis: {connection: online, key: "{id}"}
"""
PEOPLE = """select * from values
    (1L, 'Ann', 34, 'berlin'), (2L, 'bob', 230, 'paris'), (3L, null, 41, 'rome'),
    (4L, 'dan', 19, 'paris'), (5L, 'eve', 28, 'berlin'), (5L, 'eve', 28, 'berlin') as t(id, name, age, city)"""


def blocks(language: str) -> list[str]:
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return found


def checks(block: str) -> tuple[Check, ...]:
    return parse_spec(SPEC + block).checks


def test_the_example_finds_what_the_page_says(spark: SparkSession, tmp_path: Path) -> None:
    spark.sql(PEOPLE).coalesce(1).write.parquet(str(tmp_path / "stage"))
    frame = spark.read.parquet(str(tmp_path / "stage"))
    found = run_checks(frame, checks(blocks("yaml")[0]), previous_rows=5, rows=6)
    assert [explain(result) for result in found] == blocks("text")[0].splitlines()


def test_every_check_of_the_page_is_valid() -> None:
    for block in blocks("yaml"):
        for check in checks(block):
            assert validate_arguments(check) == ()
