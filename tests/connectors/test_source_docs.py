"""The pages on sources: their examples are valid, and they point at the reference of the options."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from millrace.spec.connector import connectors

_DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize(("page", "name"), [("mysql.md", "mysql"), ("logs.md", "log")])
def test_the_examples_of_a_page_are_valid(page: str, name: str) -> None:
    text = (_DOCS / page).read_text(encoding="utf-8")
    role = connectors()[name].source
    assert role is not None
    examples = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert examples
    for example in examples:
        role.options.model_validate(yaml.safe_load(example)["source"][name])
    assert f"spec.md#{name}" in text
    assert f"### `{name}`" in (_DOCS / "spec.md").read_text(encoding="utf-8")
