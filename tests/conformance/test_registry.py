"""Conformance is opt-out: every connector has a `Case`, and every gap is about a test that there is."""

from __future__ import annotations

import re

import pytest

from millrace.spec.connector import connectors
from tests.conformance import support
from tests.conformance.source import SourceCase
from tests.conformance.target import TargetCase


def test_every_connector_has_a_case_for_each_of_its_roles() -> None:
    known = connectors().values()
    targets = {c.name for c in known if c.target is not None and c.target.implementation}
    sources = {c.name for c in known if c.source is not None and c.source.implementation}
    assert {case.connector for case in support.cases(TargetCase)} == targets
    assert {case.connector for case in support.cases(SourceCase)} == sources


@pytest.mark.parametrize("suite", [TargetCase, SourceCase])
def test_every_gap_is_about_a_test_and_has_a_reason(suite: type) -> None:
    tests = {name for _, names in support.behaviours(suite) for name in names}
    for case in support.cases(suite):
        for key, gap in case.gaps.items():
            assert re.sub(r"\[.*\]$", "", key) in tests, f"{case.__name__}: there is no {key}"
            assert len(gap.reason) > 20, f"{case.__name__}: {key} needs a reason"
