"""Each dialect's statements, compared with golden files that a person has read."""

from __future__ import annotations

import json
import os

import pytest

from millrace.serving.sql.dialects import Statement
from millrace.serving.sql.faults import QueryError
from tests.serving.sql.queries import GOLDEN, TABLES, compiled, golden_cases


def as_golden(dialect: str) -> str:
    lines = []
    for name, case in golden_cases().items():
        after = tuple(case["after"]) if "after" in case else None
        try:
            found: Statement | QueryError = compiled(case["tree"], dialect, after, case.get("skip", 0))
        except QueryError as error:
            found = error
        lines.append(f"-- {name}")
        if isinstance(found, QueryError):
            lines.append(f"-- refused: {found.message}")
        else:
            params = found.params if isinstance(found.params, dict) else list(found.params)
            lines += [found.sql, f"-- {json.dumps(params, default=str)}"]
        lines.append("")
    return "\n".join(lines)


@pytest.mark.parametrize("dialect", list(TABLES))
def test_every_query_compiles_to_what_the_golden_file_has(dialect: str) -> None:
    """After a wanted change: run with MILLRACE_WRITE_GOLDEN=1, and read the difference."""
    file = GOLDEN / f"{dialect}.sql"
    if os.environ.get("MILLRACE_WRITE_GOLDEN"):
        file.write_text(as_golden(dialect))
    assert as_golden(dialect) == file.read_text()
