"""What a run did, as numbers: for a person a table, for a machine JSON, kept with the run in the catalog."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class SourceStatistics:
    """The stage step. `waited_s` adds up the time that its channels waited for the source (None: not measured)."""

    rows_read: int = 0
    bytes_read: int = 0
    rows_filtered: int = 0
    rows_dirty: int = 0
    rows_staged: int = 0
    bytes_staged: int = 0
    seconds: float = 0.0
    waited_s: float | None = None

    @property
    def lost(self) -> int:
        """Rows that no count explains; anything but 0 stops the run."""
        return self.rows_read - self.rows_dirty - self.rows_filtered - self.rows_staged


@dataclass(frozen=True)
class TargetStatistics:
    """One target's load. Waits are added up over the channels: for the stage to be read, and for the store.

    `rows_superseded` were left out, because newer rows of their keys are there (see `superseded`).
    """

    rows_loaded: int = 0
    bytes_loaded: int = 0
    rows_dirty: int = 0
    rows_superseded: int = 0
    seconds: float = 0.0
    source_waited_s: float = 0.0
    target_waited_s: float = 0.0


@dataclass(frozen=True)
class RunStatistics:
    source: SourceStatistics = SourceStatistics()
    rows_quarantined: int = 0  # staged, and set aside by checks
    targets: Mapping[str, TargetStatistics] = field(default_factory=dict)
    step_seconds: Mapping[str, float] = field(default_factory=dict)
    session_seconds: float = 0.0
    seconds: float = 0.0

    @property
    def rows_dirty(self) -> int:
        return self.source.rows_dirty + sum(t.rows_dirty for t in self.targets.values())

    def to_json(self) -> dict[str, Any]:
        """With rates: rows and bytes a second of each step's own time."""
        data = asdict(self)
        data["source"] |= _rates(self.source.rows_read, self.source.bytes_read, self.source.seconds)
        for name, target in self.targets.items():
            data["targets"][name] |= _rates(target.rows_loaded, target.bytes_loaded, target.seconds)
        data["rows_dirty"] = self.rows_dirty
        return data


def _rates(rows: int, size: int, seconds: float) -> dict[str, float]:
    if seconds <= 0:
        return {}
    return {"rows_per_second": round(rows / seconds, 1), "bytes_per_second": round(size / seconds, 1)}
