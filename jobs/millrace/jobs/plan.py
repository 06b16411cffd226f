"""A run's plan: what it will read and write, frozen before anything is read. Pure: values in, values out.

The plan is JSON. The first plan of a run that reaches the catalog holds; a retry or a resume of the run reads it back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from millrace.connectors.base import SourcePlan, Window
from millrace.spec import Spec
from millrace.spec.connector import Mode
from millrace.spec.types import Column, column


@dataclass(frozen=True)
class TargetPlan:
    """Where a run will write: the target's name in the spec, its connector, and its options without any secret."""

    name: str
    connector: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class RunPlan:
    """The frozen inputs of one run, and where its rows go."""

    asset: str
    mode: str
    window: Window
    source_connector: str
    source: SourcePlan
    targets: tuple[TargetPlan, ...]
    channels: int
    line: str | None = None  # the id of the rows that are changed; None: new rows
    deletes: str | None = None
    by_interval: bool = False  # of `merge`: rows of later intervals are newer
    latest_by: str | None = None  # of `merge`: the column that says instead which of two rows is newer

    def to_json(self) -> dict[str, Any]:
        source = self.source
        return {
            "asset": self.asset,
            "mode": self.mode,
            "window": {"start": _text(self.window.start), "end": _text(self.window.end)},
            "channels": self.channels,
            "line": self.line,
            "deletes": self.deletes,
            "by_interval": self.by_interval,
            "latest_by": self.latest_by,
            "source": {
                "connector": self.source_connector,
                "columns": [{"name": c.name, "type": str(c.type)} for c in source.columns],
                "splits": [dict(split) for split in source.splits],
                "estimated_rows": source.estimated_rows,
                "estimated_bytes": source.estimated_bytes,
                "watermark": source.watermark,
                "details": dict(source.details),
                "notes": list(source.notes),
            },
            "targets": [{"name": t.name, "connector": t.connector, "options": dict(t.options)} for t in self.targets],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunPlan:
        source = data["source"]
        return cls(
            asset=data["asset"],
            mode=data["mode"],
            window=Window(_time(data["window"]["start"]), _time(data["window"]["end"])),
            source_connector=source["connector"],
            source=SourcePlan(
                columns=tuple(column(c["name"], c["type"]) for c in source["columns"]),
                splits=tuple(source["splits"]),
                estimated_rows=source["estimated_rows"],
                estimated_bytes=source["estimated_bytes"],
                watermark=source["watermark"],
                details=source["details"],
                notes=tuple(source["notes"]),
            ),
            targets=tuple(TargetPlan(t["name"], t["connector"], t["options"]) for t in data["targets"]),
            channels=data["channels"],
            line=data.get("line"),
            deletes=data.get("deletes"),
            by_interval=data.get("by_interval", False),
            latest_by=data.get("latest_by"),
        )


def make_plan(spec: Spec, window: Window, source: SourcePlan, line: str | None = None) -> RunPlan:
    """Put a source's plan and the spec's targets together."""
    return RunPlan(
        asset=spec.asset,
        mode=str(spec.mode),
        window=window,
        source_connector=spec.source.connector,
        source=source,
        targets=target_plans(spec),
        channels=spec.limits.channels,
        line=line,
        deletes=spec.deletes,
        by_interval=spec.mode is Mode.MERGE and spec.latest_by is None and _reads_interval(spec, source),
        latest_by=spec.latest_by,
    )


def _reads_interval(spec: Spec, source: SourcePlan) -> bool:
    """Whether the rows are those of the run's interval, and not all that there is now, or what came since."""
    return spec.source.options.reads_interval() or (spec.interval is not None and source.watermark is None)


def target_plans(spec: Spec) -> tuple[TargetPlan, ...]:
    """Where a spec's runs write."""
    return tuple(
        TargetPlan(t.name, t.connector, t.options.model_dump(mode="json", exclude_defaults=True)) for t in spec.targets
    )


def run_steps(target_names: Sequence[str]) -> tuple[str, ...]:
    """The names of a run's steps in order. Loads, and then verifies, go side by side."""
    return (
        "plan",
        "stage",
        "check",
        *(f"load:{name}" for name in target_names),
        *(f"verify:{name}" for name in target_names),
        "publish",
        "retire",
    )


def columns_of(schema: Any) -> tuple[Column, ...]:
    """Our columns of a Spark schema. Raises ValueError, naming the type, for one that can't be kept."""
    return tuple(column(field.name, field.dataType.simpleString()) for field in schema.fields)


def _text(time: datetime | None) -> str | None:
    return time.isoformat() if time else None


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
