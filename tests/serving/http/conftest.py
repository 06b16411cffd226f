"""Tests of HTTP send many requests at once, on machines that are busy with other tests."""

from __future__ import annotations

import pytest

from millrace.serving.guards import overload


@pytest.fixture(autouse=True)
def never_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """No request is shed because this machine is slow; `tests/serving/guards` shows when one is."""
    monkeypatch.setattr(overload, "LATE_S", dict.fromkeys(overload.LATE_S, float("inf")))
