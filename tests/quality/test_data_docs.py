"""What a spec or a row says is text in the data docs, never markup."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from millrace.catalog import CheckResult
from millrace.quality.loading import load_great_expectations

EVIL = "<script>alert('$x')</script>"


def test_nothing_of_a_spec_or_a_row_is_markup_in_the_page(caplog: pytest.LogCaptureFixture) -> None:
    load_great_expectations()
    from millrace.quality.gx.docs import render

    results = [
        CheckResult("sql", f"sql: {EVIL}", "block", False, EVIL, EVIL, ({EVIL: EVIL},)),
        CheckResult("not_null", f"not_null: {EVIL}", "warn", False, {"rows": 2, "unexpected": 1}, "", ({"a": EVIL},)),
        CheckResult("in_set", f"in_set: {{column: \"{EVIL}\", values: ['{{{{']}}", "quarantine", False, error=EVIL),
        CheckResult("reconcile", "reconcile: {sample: 1}", "block", True, {EVIL: 1}, "%s {} {{ x }}"),
    ]
    caplog.clear()
    page = render("people", "r1", datetime(2026, 1, 1, tzinfo=UTC), results)
    assert not caplog.records, "the library renders every part"
    assert "alert(" in page
    assert "<script>alert(" not in page
    assert "Sampled Unexpected Values" in page, "the rows that a query gave, too"
    assert "Unsuccessful Expectations" in page
    assert "raised an exception" in page, "of the one that could not be asked"
