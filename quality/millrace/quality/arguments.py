"""Whether Great Expectations would take a check's arguments, before anything is run.

The names of expectations and arguments are checked with every spec, without that library (`millrace.spec`); here it
looks at the values too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from millrace.quality.expectations import null_member
from millrace.quality.loading import load_great_expectations
from millrace.spec.diagnostics import Problem, did_you_mean, shown
from millrace.spec.model import Check, Expectation, JsonValue

#: Fields of every expectation that are the spec's or the gate's to set.
_RESERVED = frozenset(
    {
        "batch_id",
        "catch_exceptions",
        "description",
        "id",
        "meta",
        "notes",
        "rendered_content",
        "result_format",
        "severity",
        "windows",
    }
)
#: They compare with a second data source of a Great Expectations project, and a run has none.
_QUERY = "unexpected_rows_query"
_NEEDS_OTHER_DATA = frozenset(
    {"expect_query_results_to_match_comparison", "expect_table_row_count_to_equal_other_table"}
)


def validate_arguments(check: Check) -> tuple[Problem, ...]:
    """What is wrong with a check's expectation and its arguments; paths are relative to the check's entry in the spec.

    Only an expectation by its name can have such problems: the arguments of the others are the spec's own. Imports
    Great Expectations; raises ConfigError when it is not installed.
    """
    if not isinstance(check, Expectation):
        return ()
    load_great_expectations()
    return tuple(_problems(check.name, check.arguments, null_member(check)))


def first_problem(type_: str, arguments: Mapping[str, JsonValue]) -> str | None:
    """The first thing that is wrong with an expectation, for a result. Great Expectations is imported already."""
    return next((problem.message for problem in _problems(type_, arguments, None)), None)


def _problems(name: str, arguments: Mapping[str, JsonValue], null: str | None) -> Iterator[Problem]:
    from great_expectations.exceptions.exceptions import ExpectationNotFoundError
    from great_expectations.expectations.registry import (
        get_expectation_impl,
        list_registered_expectation_implementations,
    )

    try:
        expectation: Any = get_expectation_impl(name)
    except ExpectationNotFoundError:
        known = list_registered_expectation_implementations()
        yield Problem((name,), f"unknown expectation '{shown(name)}'{did_you_mean(name, known)}", on_key=True)
        return
    if name in _NEEDS_OTHER_DATA:
        yield Problem((name,), f"{name} compares with a second data source, which a run doesn't have", on_key=True)
        return
    if not _on_spark(expectation):
        yield Problem((name,), f"Great Expectations can't evaluate {name} on Spark", on_key=True)
        return
    if null is not None:
        yield Problem((name, "value_set"), null)
    if _QUERY in arguments and "{batch}" not in str(arguments[_QUERY]):
        yield Problem((name, _QUERY), "the query has to read the rows that are checked: select … from {batch} where …")
        return
    allowed = sorted(field for field in expectation.__fields__ if field not in _RESERVED)
    unknown = [key for key in arguments if key not in allowed]
    for key in unknown:
        message = f"unknown argument '{shown(key)}' of {name}{did_you_mean(key, allowed)}"
        yield Problem((name, key), message, on_key=True)
    yield from _refused(name, expectation, {k: v for k, v in arguments.items() if k not in unknown})


def _on_spark(expectation: Any) -> bool:
    """Whether a check of single rows has its metric for Spark; that of whole tables is found out when it is asked."""
    from great_expectations.exceptions.exceptions import MetricProviderError
    from great_expectations.execution_engine.sparkdf_execution_engine import SparkDFExecutionEngine
    from great_expectations.expectations.registry import get_metric_provider

    metric = getattr(expectation, "map_metric", None)
    if metric is None or "get_validation_dependencies" in vars(expectation):  # it may need another metric then
        return True
    engine = SparkDFExecutionEngine.__new__(SparkDFExecutionEngine)  # only its class is looked at
    try:
        get_metric_provider(f"{metric}.unexpected_count", engine)
    except MetricProviderError:
        return False
    return True


def _refused(name: str, expectation: Any, arguments: Mapping[str, JsonValue]) -> Iterator[Problem]:
    """What the expectation itself says to its arguments."""
    from great_expectations.compatibility.pydantic import ValidationError

    try:
        expectation(**arguments)
    except ValidationError as error:
        seen: set[tuple[str | int, ...]] = set()
        for found in error.errors():
            path = tuple(found["loc"][:1]) if found["loc"][0] != "__root__" else ()
            if path in seen:
                continue  # the other members of a union
            seen.add(path)
            missing = found["type"] == "value_error.missing"
            message = f"missing required argument '{path[0]}' of {name}" if missing else _said(name, path, found["msg"])
            yield Problem((name,) if missing or not path else (name, *path), message, on_key=missing or not path)
    except (TypeError, ValueError) as error:
        yield Problem((name,), f"{name}: {error}", on_key=True)


def _said(name: str, path: tuple[str | int, ...], message: str) -> str:
    return f"argument '{path[0]}' of {name}: {message}" if path else f"{name}: {message}"
