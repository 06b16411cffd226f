"""What every target has to do, whatever its store: inherited by one `Case` a store, which only says how to reach it."""

from __future__ import annotations

from tests.conformance.failures import Failures
from tests.conformance.loads import Loads
from tests.conformance.modes import Modes
from tests.conformance.versions import Versions


class TargetCase(Loads, Versions, Modes, Failures):
    """All behaviours of a target. What a store doesn't do stands in `gaps`."""
