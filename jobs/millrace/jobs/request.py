"""What a caller may choose for one run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from millrace.connectors.base import Window


@dataclass(frozen=True)
class RunRequest:
    """The choices for one run. `key` makes beginning it idempotent, e.g. the id of a DAG run."""

    window: Window = field(default_factory=Window)
    full_refresh: bool = False  # read the source from the start, into rows of its own
    trigger: str = "manual"
    key: str | None = None
    wait_s: float = 0.0  # how long to wait for another run of the asset; 0: refuse at once
    connections: Mapping[str, str] = field(default_factory=dict)  # other names to use, as in `millrace test`
