"""What `millrace connectors` says of each connector: the same as the table in the docs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from millrace.cli.app import app

PAGE = (Path(__file__).parents[2] / "docs/connectors.md").read_text(encoding="utf-8")


def listed() -> dict[str, dict[str, Any]]:
    done = CliRunner().invoke(app, ["connectors", "--json"])
    assert done.exit_code == 0, done.output
    return {entry["name"]: entry for entry in json.loads(done.stdout)}


def test_every_connector_is_listed_with_what_it_can() -> None:
    found = listed()
    assert {name: entry["roles"] for name, entry in found.items()} == {
        **{name: ["source"] for name in ("kafka", "lake", "log", "mysql")},
        **{name: ["target"] for name in ("clickhouse", "druid", "hbase", "redis")},
    }
    assert all(entry["available"] for entry in found.values())
    assert {name for name, entry in found.items() if entry["queries"]} == {"clickhouse", "druid", "mysql"}
    assert {name for name, entry in found.items() if "append" in entry["modes"]} == {"clickhouse", "druid"}
    assert {name for name, entry in found.items() if entry["streams"]} == {"druid"}
    assert found["redis"]["layouts"] == ["protobuf", "json", "msgpack", "hash", "sorted_set", "list", "set"]
    assert (found["kafka"]["lag"], found["kafka"]["incremental"], found["mysql"]["totals"]) == (True, True, True)


def test_the_docs_have_a_line_for_each_with_its_modes_layouts_and_formats() -> None:
    for name, entry in listed().items():
        (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}` | {entry['summary']} |")]
        for word in (*entry["modes"], *entry["layouts"], *entry["formats"], *entry["schemes"]):
            assert f"`{word}`" in line
