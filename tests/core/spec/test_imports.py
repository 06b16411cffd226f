"""What importing the spec's parts pulls in: they are read by every task and every server."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("sqlalchemy", "sqlglot", "croniter", "pyspark", "pyarrow", "pandas", "numpy", "great_expectations", "redis")


def modules_after(code: str) -> set[str]:
    code = f"import sys\n{code}\nprint(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return {name.partition(".")[0] for name in found.split()}


@pytest.mark.parametrize(
    "code",
    [
        "import millrace.spec",
        "from millrace.spec import load_spec",
        "from millrace.spec.connection import resolve",
        "from millrace.spec.connector import connectors; connectors()",
    ],
)
def test_no_heavy_package_comes_with_it(code: str) -> None:
    assert modules_after(code) & set(HEAVY) == set()


def test_types_and_connections_need_no_yaml() -> None:
    assert "yaml" not in modules_after("import millrace.spec.connection, millrace.spec.types, millrace.spec.connector")


def test_an_unknown_name_is_no_attribute() -> None:
    import millrace.spec

    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = millrace.spec.nothing
