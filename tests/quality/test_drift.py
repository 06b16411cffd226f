"""Bounds from the values of earlier versions."""

from __future__ import annotations

import pytest

from millrace.quality.drift import bounds
from millrace.spec.model import Drift, Measure


def drift(measure: Measure = Measure.MEAN, ratio: float | None = None, deviations: float | None = None) -> Drift:
    return Drift(measure, ("a",), 7, ratio, deviations)


@pytest.mark.parametrize(
    ("check", "earlier", "expected"),
    [
        (drift(ratio=0.2), [100.0], (80, 120)),
        (drift(ratio=0.2), [-90.0, -110.0], (-120, -80)),
        (drift(ratio=0.2), [0.0, 0.0], (0, 0)),
        (drift(Measure.NULL_SHARE, ratio=0.05), [0.0, 0.1], (0, 0.1)),
        (drift(deviations=2), [10.0, 12.0, 14.0], (8, 16)),
        (drift(deviations=3), [5.0, 5.0, 5.0], (5, 5)),
    ],
)
def test_bounds_lie_around_the_mean(check: Drift, earlier: list[float], expected: tuple[float, float]) -> None:
    found = bounds(check, earlier)
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("check", "earlier", "why"),
    [
        (drift(ratio=0.2), [], "anything: no published version to compare with"),
        (drift(deviations=3), [], "anything: no published version to compare with"),
        (drift(deviations=3), [1.0], "anything: too few versions for a deviation, 1 of 3"),
        (drift(deviations=3), [1.0, 2.0], "anything: too few versions for a deviation, 2 of 3"),
    ],
)
def test_without_a_history_anything_passes_and_it_is_said(check: Drift, earlier: list[float], why: str) -> None:
    found = bounds(check, earlier)
    assert (found.low, found.high) == (None, None)
    assert found.expected.startswith(why)
