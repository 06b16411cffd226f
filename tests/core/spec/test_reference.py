"""The reference page is what the models say, and its examples are valid."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml
from pydantic import BaseModel, Field

from millrace.spec.connection import resolve
from millrace.spec.connector import connectors
from millrace.spec.reference import MARK, docs_table, spec_reference
from millrace.spec.units import Duration
from tests.core.spec.texts import diagnostics, errors

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/spec.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", PAGE.partition(MARK)[0], re.DOTALL)


class Sample(BaseModel):
    pace: Annotated[Duration, Field(gt=timedelta(0))] = Field(
        default=timedelta(seconds=90), description="How fast.", examples=["5s"]
    )
    kind: Literal["a", "b"] = Field(default="a", description="Which | of them.")
    name: Annotated[str, Field(description="The name.", examples=["x"])]
    tags: list[str] = Field(default=[], alias="labels", description="Labels.", examples=[["p", "q"]])


def test_a_table_has_required_keys_first_with_type_default_meaning_and_example() -> None:
    assert docs_table(Sample) == (
        "| key | type | default | meaning | example |\n"
        "|---|---|---|---|---|\n"
        "| `name` | text | required | The name. | `x` |\n"
        "| `pace` | duration | `1m30s` | How fast. | `5s` |\n"
        "| `kind` | `a` or `b` | `a` | Which \\| of them. |  |\n"
        "| `labels` | list of text |  | Labels. | `[p, q]` |"
    )


def test_the_page_is_current() -> None:
    assert subprocess.run([sys.executable, ROOT / "scripts/docs", "--check"], check=False).returncode == 0


@pytest.mark.parametrize("name", sorted(connectors()))
def test_every_installed_connector_is_on_the_page(name: str) -> None:
    assert f"### `{name}`" in spec_reference()


def test_the_example_on_the_page_is_a_valid_spec() -> None:
    [example] = [text for language, text in BLOCKS if language == "yaml" and "asset:" in text]
    assert [d.full() for d in diagnostics(example)] == []


def test_the_error_on_the_page_is_the_one_that_is_given() -> None:
    [shown] = [text for language, text in BLOCKS if language == "text"]
    text = "version: 1\nasset: users\n\n\n\nsource:\n  mysqll: {connection: mysql_main, table: users}\n"
    assert any(d.full() == shown.rstrip("\n") for d in diagnostics(text)), errors(text)


def test_the_connections_on_the_page_can_be_resolved(tmp_path: Path) -> None:
    [example] = [text for language, text in BLOCKS if language == "yaml" and "mysql://" in text]
    file = tmp_path / "connections.yaml"
    file.write_text(example)
    env = {"MYSQL_PASSWORD": "m", "REDIS_PASSWORD": "r", "CH_PASSWORD": "c"}
    found = {name: resolve(name, env, file) for name in yaml.safe_load(example)}
    assert found["mysql_main"].password.value == "m"
    assert found["redis_online"].hosts == (("r1.example.com", 6379), ("r2.example.com", 6379))
    assert found["clickhouse_main"].database == "assets"
    assert found["redis_test"].scheme == "embedded"
