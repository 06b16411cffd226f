from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from millrace.spec.expectations import expectations
from tests.core.spec.texts import errors, with_section

ROOT = Path(__file__).parents[3]


def test_names_and_arguments_are_those_of_the_installed_great_expectations() -> None:
    script = ROOT / "scripts/expectations"
    result = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"run scripts/expectations: the installed release differs\n{result.stderr}"


@pytest.mark.parametrize("name", sorted(expectations()))
def test_every_expectation_can_be_a_check(name: str) -> None:
    signature = expectations()[name]
    arguments = dict.fromkeys(signature.required, "id")
    if "column_list" in arguments:
        arguments["column_list"] = "[id, name]"
    body = ", ".join(f"{key}: {value}" for key, value in arguments.items())
    assert errors(with_section(f"checks:\n  - {name}: {{{body}}}\n")) == []
