"""The quality gate: a spec's checks, asked of the staged rows by Great Expectations.

Importing this loads neither Great Expectations nor Spark; `run_checks` does, `warm_up` does it ahead.
"""

from millrace.quality.arguments import validate_arguments
from millrace.quality.expectations import Past, PlannedExpectation, to_expectations
from millrace.quality.explain import explain
from millrace.quality.loading import warm_up
from millrace.quality.results import CheckResult
from millrace.quality.run import REASON, Judgement, judge, run_checks

__all__ = [
    "REASON",
    "CheckResult",
    "Judgement",
    "Past",
    "PlannedExpectation",
    "explain",
    "judge",
    "run_checks",
    "to_expectations",
    "validate_arguments",
    "warm_up",
]
