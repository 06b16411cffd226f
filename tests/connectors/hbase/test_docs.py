"""docs/hbase.md says what is so."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from millrace.connectors.hbase.bulk import AUTO_ROWS, CHUNK_BYTES
from millrace.connectors.hbase.endpoint import DEFAULT_TIMEOUT_S, PARAMS
from millrace.connectors.hbase.options import HBaseOptions

PAGE = (Path(__file__).parents[3] / "docs/hbase.md").read_text(encoding="utf-8")


def test_the_example_is_valid() -> None:
    found = re.search(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    (entry,) = yaml.safe_load(found.group(1))["targets"]
    assert HBaseOptions.model_validate(entry["hbase"]).row_key == "{country}:{id}"


def test_every_option_and_parameter_is_on_the_page() -> None:
    shown = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE))))
    assert set(HBaseOptions.model_fields) | set(PARAMS) <= shown


def test_numbers_are_those_of_the_code() -> None:
    assert f"at least {AUTO_ROWS:,}" in PAGE
    assert f"{CHUNK_BYTES >> 20} MiB of rows" in PAGE
    assert f"{DEFAULT_TIMEOUT_S / 60:.0f}m by default" in PAGE
