"""An asset's life in a few words, for tests of the catalog."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from millrace.catalog import (
    ApiDefinition,
    Catalog,
    Flip,
    Lease,
    NewRun,
    Owner,
    Publication,
    Registration,
    RunRecord,
    RunState,
    VersionRecord,
)
from millrace.spec.types import Column, column

ASSET = "clicks"
STEPS = ("plan", "stage", "check", "load:redis", "verify:redis", "publish", "retire")
COLUMNS = (column("id", "bigint"), column("name", "string"))
TTL_S = 60.0
#: A process of which nothing can be known from here.
ELSEWHERE = Owner("elsewhere", 4242, "another-boot/pid:[1]", "777")


@dataclass
class HandClock:
    """A clock that only moves when it is told to."""

    moment: datetime = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.moment

    def advance(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


@dataclass(frozen=True)
class Prepared:
    """A run that is about to publish its loaded version."""

    run: RunRecord
    lease: Lease
    version: VersionRecord


@dataclass
class Life:
    """Shortcuts over one catalog. Every step moves the clock by a second."""

    catalog: Catalog
    clock: HandClock
    asset: str = ASSET
    apis: tuple[ApiDefinition, ...] = field(default=())

    def register(self, text: str = "asset: clicks") -> None:
        digest = hashlib.sha256(text.encode()).hexdigest()
        self.catalog.assets.register(Registration(self.asset, "growth@example.com", text, digest, self.apis))

    def start(self, key: str | None = None, steps: Sequence[str] = STEPS) -> RunRecord:
        self.clock.advance(1)
        if self.catalog.assets.find(self.asset) is None:
            self.register()
        return self.catalog.runs.start(NewRun(self.asset, "0" * 64, tuple(steps), key=key))

    def prepare(self, columns: Sequence[Column] = COLUMNS, targets: Sequence[str] = ("redis",)) -> Prepared:
        run = self.start()
        lease = self.catalog.leases.acquire(self.asset, run.id, TTL_S)
        self.catalog.runs.freeze_plan(run.id, {"splits": [run.id]})
        self.clock.advance(1)
        version = self.catalog.versions.create(run.id, columns, {t: {"connection": t} for t in targets})
        return Prepared(run, lease, self.catalog.versions.loaded(version.id, rows=10))

    def publish(self, prepared: Prepared, watermark: Mapping[str, Any] | None = None) -> Flip:
        self.clock.advance(1)
        return self.catalog.publish(prepared.lease, Publication(prepared.version.id, watermark, self.apis))

    def confirm(self, flip: Flip) -> None:
        for target in flip.version.targets:
            self.catalog.pointer_confirmed(flip.asset, target, flip.version.id)

    def published(
        self, watermark: Mapping[str, Any] | None = None, targets: Sequence[str] = ("redis",)
    ) -> VersionRecord:
        """A whole run, from its start to its end."""
        prepared = self.prepare(targets=targets)
        self.confirm(self.publish(prepared, watermark))
        self.catalog.runs.finish(prepared.run.id, RunState.SUCCEEDED)
        return self.catalog.versions.get(prepared.version.id)

    def rolled_back(self, to: str | None = None) -> VersionRecord:
        self.clock.advance(1)
        flip = self.catalog.rollback(self.asset, to)
        self.confirm(flip)
        return flip.version
