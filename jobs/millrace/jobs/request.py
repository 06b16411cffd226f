"""What a caller may choose for one run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from millrace.connectors.base import Window
from millrace.spec import Spec


@dataclass(frozen=True)
class RunRequest:
    """The choices for one run. `key` makes beginning it idempotent, e.g. the id of a DAG run."""

    window: Window = field(default_factory=Window)
    full_refresh: bool = False  # read the source from the start, into rows of its own
    trigger: str = "manual"
    key: str | None = None
    wait_s: float = 0.0  # how long to wait for another run of the asset; 0: refuse at once
    connections: Mapping[str, str] = field(default_factory=dict)  # other names to use, as in `millrace test`
    limits: Mapping[str, int | None] = field(default_factory=dict)  # of `limits`, what differs from the spec

    def choices(self) -> dict[str, Any]:
        """What the run itself remembers of these choices, as JSON."""
        found: dict[str, Any] = {"full_refresh": True} if self.full_refresh else {}
        return {**found, "limits": dict(self.limits)} if self.limits else found


def as_chosen(spec: Spec, choices: Mapping[str, Any]) -> Spec:
    """The spec with the limits that were chosen for a run."""
    limits = choices.get("limits")
    return replace(spec, limits=replace(spec.limits, **limits)) if limits else spec
