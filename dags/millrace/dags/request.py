"""What a task and the process of its step tell each other: two small JSON files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Self


@dataclass(frozen=True)
class StepRequest:
    """A step to do. `key` is the DAG run's id; `run_id` is the engine's run, None before its step `plan`."""

    step: str
    asset: str
    spec: str
    key: str
    run_id: str | None = None
    trigger: str = "airflow"
    window_start: datetime | None = None
    window_end: datetime | None = None
    full_refresh: bool = False
    dry_run: bool = False
    limits: Mapping[str, int | None] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps(asdict(self), default=datetime.isoformat)

    @classmethod
    def from_json(cls, text: str) -> Self:
        data: dict[str, Any] = json.loads(text)
        for name in ("window_start", "window_end"):
            data[name] = datetime.fromisoformat(data[name]) if data[name] else None
        return cls(**data)


@dataclass(frozen=True)
class StepFailure:
    """Why a step failed. `transient`: the same step may pass when it is tried again."""

    kind: str
    message: str
    hint: str = ""
    transient: bool = False

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}" + (f"\n  → {self.hint}" if self.hint else "")


@dataclass(frozen=True)
class StepOutcome:
    """How a step went: what it counted, or why it failed. `publication` is what the asset's event says."""

    run_id: str | None = None
    stats: Mapping[str, Any] = field(default_factory=dict)
    publication: Mapping[str, Any] = field(default_factory=dict)
    error: StepFailure | None = None

    def to_json(self) -> str:
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> Self:
        data: dict[str, Any] = json.loads(text)
        error = data.pop("error")
        return cls(**data, error=StepFailure(**error) if error else None)
