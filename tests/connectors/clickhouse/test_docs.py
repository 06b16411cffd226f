"""docs/clickhouse.md says what the code does."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import yaml

from millrace.connectors import embedded
from millrace.connectors.clickhouse.endpoint import DEFAULT_TIMEOUT_S
from millrace.connectors.clickhouse.layout import clickhouse_type
from millrace.connectors.clickhouse.options import ClickHouseOptions
from millrace.spec.connection import Connection
from millrace.spec.types import Kind, parse_type
from tests.connectors.clickhouse.stores import ASSET, publish, target
from tests.connectors.loads import people
from tests.servers.clickhouse import ClickHouseDatabase

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "clickhouse.md").read_text()


def table(title: str) -> list[list[str]]:
    """The cells of the table whose head's first cell is `title`."""
    (rows,) = re.findall(rf"^\| {title} \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in rows.splitlines()]


def block(language: str, number: int = 0) -> str:
    return str(re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)[number])


def test_its_types_are_the_ones_that_are_made() -> None:
    for ours, clickhouse in table("column"):
        assert clickhouse_type(parse_type(ours.strip("`"))) == re.fullmatch("(`+)(.*)\\1", clickhouse)[2]  # type: ignore[index]  # a mismatch fails the test
    assert {parse_type(row[0].strip("`")).kind for row in table("column")} == set(Kind)


def test_its_options_are_the_ones_that_there_are() -> None:
    assert [row[0].strip("`") for row in table("option")] == list(ClickHouseOptions.model_fields)
    (entry,) = yaml.safe_load(block("yaml"))["targets"]
    ClickHouseOptions.model_validate(entry["clickhouse"])
    assert ["`timeout`", f"`{DEFAULT_TIMEOUT_S:.0f}s`"] in [row[:2] for row in table("parameter")]


def test_its_query_tells_the_current_version(clickhouse_database: ClickHouseDatabase) -> None:
    store = target(clickhouse_database.connection)
    publish(store, "v1", people(1))
    sql = block("sql", 1).replace("'assets'", f"'{clickhouse_database.name}'")
    assert clickhouse_database.query(sql) == "v1\n"
    store.close()


def test_its_command_asks_the_embedded_server(tmp_path: Path) -> None:
    store = target(Connection("embedded", "embedded", params={"home": str(tmp_path / ".millrace")}))
    try:
        publish(store, "v1", people(7))
        assert ASSET == "requests"
        done = subprocess.run(block("bash"), shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.stdout == "7\n", done.stderr
    finally:
        store.close()
        embedded.stop("clickhouse", tmp_path / ".millrace")
