"""How connectors are found: those of other distributions too, good and bad ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from millrace.errors import ConfigError, NotAvailable
from millrace.spec.connector import implementation

GOOD = """
from collections.abc import Sequence
from pydantic import Field
from millrace.spec.connector import Connector, Options, SourceRole

class RingOptions(Options):
    connection: str = Field(description="Name of the connection.", examples=["ring_main"])
    ring: str = Field(description="The ring.", examples=["r1"])

    def known_columns(self) -> Sequence[str]:
        return ["key", "weight"]

connector = Connector(name="ring", summary="A ring", source=SourceRole(options=RingOptions, implementation=None))
"""
SPEC = """
version: 1
asset: rings
source: {ring: {connection: a, ring: b}}
checks:
  - unique: [kye]
targets:
  - redis: {connection: embedded, key: "{key}"}
"""


def distribution(folder: Path, name: str, entry: str, code: str) -> None:
    """A distribution as pip would install it, with one entry point."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[millrace.connectors]\n{entry}\n")
    (folder / f"{name}.py").write_text(code)


def run(folder: Path, code: str) -> str:
    """What the code prints in a process that has the folder's distributions installed."""
    command = [sys.executable, "-c", f"import sys\nsys.path.insert(0, {str(folder)!r})\n{code}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def error_of(folder: Path) -> str:
    code = "from millrace.errors import ConfigError\nfrom millrace.spec.connector import connectors\n"
    return run(folder, code + "try: connectors()\nexcept ConfigError as error: print(error)")


def test_a_connector_of_ones_own_is_part_of_specs_schema_and_starter(tmp_path: Path) -> None:
    distribution(tmp_path, "millrace_ring", "ring = millrace_ring:connector", GOOD)
    code = f"""
from millrace.errors import SpecError
from millrace.spec import json_schema, parse_spec
from millrace.spec.starter import starter_spec
try: parse_spec({SPEC!r}, "rings.yaml")
except SpecError as error: print(error.message)
print(parse_spec({SPEC.replace("kye", "key")!r}).source)
print("ring" in json_schema()["$defs"]["Source"]["properties"])
print(parse_spec(starter_spec("rings", "ring", "redis")).checks)
"""
    assert run(tmp_path, code).splitlines() == [
        "the spec rings.yaml has 1 error",
        "rings.yaml:6:14: unknown column 'kye', did you mean 'key'?",
        "SourceEntry(connector='ring', options=RingOptions(connection='a', ring='b'))",
        "True",
        "(NotNull(columns=('key',), severity=<Severity.BLOCK: 'block'>, on=<Subject.STAGE: 'stage'>), "
        "RowCount(min=1, max=None, change=None, severity=<Severity.BLOCK: 'block'>, on=<Subject.STAGE: 'stage'>))",
    ]


def test_two_connectors_of_one_name_are_an_error_that_says_whose_the_second_is(tmp_path: Path) -> None:
    distribution(tmp_path, "millrace_other", "zzz = millrace_other:connector", GOOD.replace('"ring"', '"kafka"'))
    found = error_of(tmp_path)
    assert "two installed distributions announce a connector 'kafka'" in found
    assert "millrace_other:connector" in found


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("x = 1 / 0", "ZeroDivisionError: division by zero"),
        ("x = 1", "AttributeError: module 'millrace_bad' has no attribute 'connector'"),
        ("connector = 5", "is a int, not a Connector"),
    ],
)
def test_a_broken_connector_is_named_with_its_distribution(tmp_path: Path, code: str, message: str) -> None:
    distribution(tmp_path, "millrace_bad", "bad = millrace_bad:connector", code)
    found = error_of(tmp_path)
    assert "'bad' (millrace_bad:connector, of millrace_bad 1.0)" in found
    assert message in found


def test_an_implementation_is_imported_when_it_is_asked_for() -> None:
    assert implementation("millrace.spec.types:Column", "x").__name__ == "Column"


def test_what_isnt_there_yet_or_not_installed_is_said_plainly() -> None:
    with pytest.raises(NotAvailable, match="source 'kafka' is valid in a spec, but can't be run in this release"):
        implementation(None, "source 'kafka'")
    with pytest.raises(ConfigError, match="source 'x' needs the Python package 'no_such_package'"):
        implementation("no_such_package:Source", "source 'x'")
