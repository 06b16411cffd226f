"""What a check found, as frozen values. Everything in them is JSON, so that they can be kept, sent and shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from millrace.spec.model import JsonValue, Severity


@dataclass(frozen=True)
class CheckResult:
    """One check of one run, as Great Expectations judged it.

    `check` is the check in the spec's own words, one column set each, e.g. `not_null: id`; `expectation` is the name of
    the expectation that was asked. `observed` is a value, or for a check of single rows `{"rows": …, "unexpected": …}`;
    `unexpected_count` and `unexpected_ratio` (of all rows looked at) are None for a check of the whole table. `samples`
    holds up to 20 whole rows that failed, long texts cut off. `measure` is what a later version is compared by: the
    measure's name and the column, "" for all rows. With an `error` the check could not be evaluated in full,
    and it has not passed.
    """

    check: str
    expectation: str
    severity: Severity
    passed: bool
    observed: JsonValue = None
    expected: str = ""
    unexpected_count: int | None = None
    unexpected_ratio: float | None = None
    samples: tuple[Mapping[str, JsonValue], ...] = ()
    error: str | None = None
    measure: tuple[str, str] | None = None

    @property
    def blocks(self) -> bool:
        """Whether it stops the publish. A check whose rows would be set aside does so when they can't be told."""
        if self.passed or self.severity is Severity.WARN:
            return False
        return self.severity is Severity.BLOCK or self.error is not None

    @property
    def kind(self) -> str:
        """The check's name in the spec, e.g. `not_null` or `expect_column_max_to_be_between`."""
        return self.check.partition(":")[0]
