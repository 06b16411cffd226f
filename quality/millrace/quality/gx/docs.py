"""A run's check results as a page of Great Expectations' data docs: one file of HTML, laid out by its own renderers.

Each check stands there in the spec's own words. The page shows what the catalog keeps: samples are as they are staged,
so what `mask` made unreadable stays so. Whatever stands in a spec or in a row is text in it and never markup: the
library's view escapes none of it, so it is escaped here.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import yaml
from great_expectations import __version__
from great_expectations.core import ExpectationSuiteValidationResult, ExpectationValidationResult
from great_expectations.expectations.expectation import BatchExpectation
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
from great_expectations.expectations.metadata_types import FailureSeverity
from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
from great_expectations.render.view.view import DefaultJinjaPageView

from millrace.catalog import CheckResult
from millrace.spec.model import Severity

_TYPE = "expect_check_to_pass"
_SEVERITIES = {
    Severity.BLOCK.value: FailureSeverity.CRITICAL,
    Severity.WARN.value: FailureSeverity.WARNING,
    Severity.QUARANTINE.value: FailureSeverity.INFO,
}


class ExpectCheckToPass(BatchExpectation):
    """What a result is shown as. It is never asked for."""

    column: str = ""

    def _validate(self, *_: object, **__: object) -> dict[str, Any]:
        raise NotImplementedError


def render(asset: str, run_id: str, at: datetime, results: Sequence[CheckResult]) -> str:
    """The whole page. Its styles and scripts come from where Great Expectations keeps them, as in all of its docs."""
    passed = sum(result.passed for result in results)
    validation = ExpectationSuiteValidationResult(
        success=all(result.passed for result in results),
        results=[_shown(result) for result in results],
        suite_name=asset,
        statistics={
            "evaluated_expectations": len(results),
            "successful_expectations": passed,
            "unsuccessful_expectations": len(results) - passed,
            "success_percent": 100 * passed / len(results) if results else None,
        },
        meta={
            "run_id": {"run_name": run_id, "run_time": at.astimezone(UTC).isoformat()},
            "great_expectations_version": __version__,
            "active_batch_definition": {},
            "batch_markers": {},
        },
    )
    renderer: Any = ValidationResultsPageRenderer(run_info_at_end=True)
    view: Any = DefaultJinjaPageView()
    page: str = view.render(renderer.render(validation))
    return page


def _shown(result: CheckResult) -> ExpectationValidationResult:
    column = _column(result)
    words = f"{result.description} · expected: {result.expected}" if result.expected else result.description
    return ExpectationValidationResult(
        success=result.passed,
        expectation_config=ExpectationConfiguration(
            type=_TYPE,
            kwargs={"column": html.escape(column)} if column else {},
            description=html.escape(words),
            severity=_SEVERITIES[result.severity],
        ),
        result=_result(result),
        exception_info={
            "raised_exception": result.error is not None,
            "exception_message": result.error or "",  # the one text that the library escapes itself
            "exception_traceback": "",
        },
    )


def _column(result: CheckResult) -> str:
    """The one column that a check is of, by which the page groups them; none for any other check."""
    try:
        arguments = yaml.safe_load(result.description.partition(": ")[2])
    except yaml.YAMLError:
        return ""
    found = arguments.get("column") if isinstance(arguments, dict) else arguments
    return found if isinstance(found, str) and result.kind not in ("sql", "reconcile") else ""


def _result(result: CheckResult) -> dict[str, Any]:
    samples = [html.escape(json.dumps(row, ensure_ascii=False), quote=False) for row in result.sample]
    match result.observed:
        case {"rows": int(rows), "unexpected": int(unexpected)}:
            share = 100 * unexpected / rows if rows else 0.0
            found: dict[str, Any] = {"element_count": rows, "unexpected_count": unexpected, "unexpected_percent": share}
        case Mapping() as several:
            found = {"observed_value": html.escape(json.dumps(several), quote=False)}
        case None:
            found = {}
        case value:
            found = {"observed_value": html.escape(value, quote=False) if isinstance(value, str) else value}
    if samples:
        # Without a count of its own no sentence is made of it: of how many rows these are samples, nobody knows.
        found = {"unexpected_count": 0, **found, "partial_unexpected_list": samples}
    return found
