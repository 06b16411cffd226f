"""How far a measure may lie from earlier versions: bounds from their values. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from millrace.quality.wording import percent
from millrace.spec.model import Drift, Measure

#: So many values make a standard deviation that says something.
FEWEST_FOR_DEVIATIONS = 3
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Bounds:
    """What passes, and the same for a person; without `low` and `high` anything does, and `expected` says why."""

    expected: str
    low: float | None = None
    high: float | None = None


def bounds(check: Drift, earlier: Sequence[float]) -> Bounds:
    """The bounds from the values of earlier versions, in any order."""
    if not earlier:
        return Bounds("anything: no published version to compare with")
    mean = statistics.fmean(earlier)
    many = f"the last {len(earlier)} versions" if len(earlier) > 1 else "the last version"
    if check.ratio is not None:
        of_share = check.measure is Measure.NULL_SHARE
        distance = check.ratio if of_share else check.ratio * abs(mean)
        within = f"within {percent(check.ratio)}{' (in points)' if of_share else ''} of {number(mean)}"
    else:
        if len(earlier) < FEWEST_FOR_DEVIATIONS:
            return Bounds(f"anything: too few versions for a deviation, {len(earlier)} of {FEWEST_FOR_DEVIATIONS}")
        distance = (check.deviations or 0.0) * statistics.stdev(earlier)
        within = f"within {number(check.deviations or 0.0)} deviations of {number(mean)}"
    slack = _ROUNDING * max(abs(mean), 1.0)
    low, high = mean - distance - slack, mean + distance + slack
    shown = f"{number(mean - distance)} to {number(mean + distance)}"
    return Bounds(f"{shown}: {within}, the mean of {many}", low, high)


def number(value: float) -> str:
    """Six digits are enough for a person."""
    if math.isfinite(value) and value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.6g}"
