"""Publishes versions into a real store and catalog without Spark: what a run does, in this process."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from millrace.catalog import (
    ApiDefinition,
    Catalog,
    Flip,
    NewRun,
    Publication,
    Registration,
    RunState,
    VersionRecord,
)
from millrace.connectors.base import Field, Version
from millrace.connectors.redis.load import RedisTarget
from millrace.connectors.redis.options import RedisOptions
from millrace.connectors.wire.arrow_types import columns_of
from millrace.spec.connection import parse_url
from millrace.spec.settings import Settings
from millrace.spec.shape.apis import ApiEntry

CONNECTION = "online"
_STEPS = ("plan", "stage", "check", "load:redis", "verify:redis", "publish", "retire")


@dataclass
class Publisher:
    """One asset on one Redis. `apis` are written as in a spec; what they are at a publish takes effect with it."""

    catalog: Catalog
    url: str
    asset: str = "user_profile"
    key: str = "{id}"
    apis: Sequence[Mapping[str, Any]] = ({"kv": {"name": "user_profile"}},)
    options: Mapping[str, Any] = field(default_factory=dict)

    def publish(self, rows: pa.RecordBatch | Sequence[Mapping[str, Any]]) -> VersionRecord:
        """A whole run: register, load, publish, move the pointer, confirm."""
        batch = rows if isinstance(rows, pa.RecordBatch) else pa.RecordBatch.from_pylist([dict(row) for row in rows])
        definitions = tuple(
            ApiDefinition(api.name, api.kind, api.definition)
            for api in (ApiEntry.model_validate(entry).api() for entry in self.apis)
        )
        text = f"asset: {self.asset}\nbusiness_line: growth\npriority: high\n"
        digest = hashlib.sha256(text.encode()).hexdigest()
        self.catalog.assets.register(Registration(self.asset, "growth@example.com", text, digest, definitions))
        run = self.catalog.runs.start(NewRun(self.asset, digest, _STEPS))
        lease = self.catalog.leases.acquire(self.asset, run.id, 600)
        about = {"redis": {"connector": "redis", "options": self._options().model_dump(mode="json")}}
        record = self.catalog.versions.create(run.id, columns_of(batch.schema), about)
        target = self._target()
        try:
            version = Version(self.asset, record.id, tuple(Field(f.column, f.number) for f in record.fields))
            target.prepare(version)
            loader = target.loader(version)
            loader.open()
            try:
                loaded = loader.load(batch).rows + loader.finish().rows
            finally:
                loader.close()
            assert loaded == batch.num_rows
            self.catalog.versions.loaded(record.id, rows=loaded)
            flip = self.catalog.publish(lease, Publication(record.id, None, definitions))
            self._point(target, flip)
        finally:
            target.close()
        self.catalog.runs.finish(run.id, RunState.SUCCEEDED)
        self.catalog.leases.release(lease)
        return flip.version

    def rollback(self, to: str | None = None) -> VersionRecord:
        """Back to an older version, in the catalog and in the store."""
        flip = self.catalog.rollback(self.asset, to)
        target = self._target()
        try:
            self._point(target, flip)
        finally:
            target.close()
        return flip.version

    def _point(self, target: RedisTarget, flip: Flip) -> None:
        record = flip.version
        target.publish(Version(self.asset, record.id, tuple(Field(f.column, f.number) for f in record.fields)))
        self.catalog.pointer_confirmed(self.asset, "redis", record.id)

    def _options(self) -> RedisOptions:
        return RedisOptions(connection=CONNECTION, key=self.key, **self.options)

    def _target(self) -> RedisTarget:
        return RedisTarget(self._options(), parse_url(CONNECTION, self.url, "the test"))


@contextmanager
def workspace(folder: Path, redis_url: str) -> Iterator[tuple[Settings, Catalog]]:
    """Settings of an empty catalog in a folder, whose connection `online` is this Redis; and the catalog."""
    connections = folder / "connections.yaml"
    connections.write_text(f"{CONNECTION}: {redis_url}\n")
    settings = Settings.from_env({"MILLRACE_HOME": str(folder), "MILLRACE_CONNECTIONS": str(connections)})
    with Catalog.open(settings.catalog_url) as catalog:
        yield settings, catalog
