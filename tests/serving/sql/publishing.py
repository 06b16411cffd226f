"""Publishes versions of an asset into ClickHouse and the catalog without Spark: what a run does, in this process."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from millrace.catalog import ApiDefinition, Catalog, NewRun, Publication, Registration, RunState, VersionRecord
from millrace.connectors.base import Field, Version
from millrace.connectors.clickhouse.load import ClickHouseTarget
from millrace.connectors.clickhouse.options import ClickHouseOptions
from millrace.spec.connection import parse_url
from millrace.spec.settings import Settings
from millrace.spec.shape.apis import ApiEntry
from millrace.spec.types import Column
from tests.connectors.loads import load_whole

CONNECTION = "olap"
_STEPS = ("plan", "stage", "check", "load:clickhouse", "verify:clickhouse", "publish", "retire")


@dataclass
class SqlPublisher:
    """One asset in one ClickHouse. `apis` are written as in a spec; what they are at a publish takes effect with it."""

    catalog: Catalog
    url: str
    asset: str
    columns: Sequence[Column]
    apis: Sequence[Mapping[str, Any]]

    def publish(self, rows: pa.Table) -> VersionRecord:
        """A whole run: register, load, publish in the store and in the catalog."""
        definitions = tuple(
            ApiDefinition(api.name, api.kind, api.definition)
            for api in (ApiEntry.model_validate(entry).api() for entry in self.apis)
        )
        text = f"asset: {self.asset}\nbusiness_line: growth\n"
        digest = hashlib.sha256(text.encode()).hexdigest()
        self.catalog.assets.register(Registration(self.asset, "growth@example.com", text, digest, definitions))
        run = self.catalog.runs.start(NewRun(self.asset, digest, _STEPS))
        lease = self.catalog.leases.acquire(self.asset, run.id, 600)
        options = ClickHouseOptions(connection=CONNECTION, order_by=("id",))
        about = {"clickhouse": {"connector": "clickhouse", "options": options.model_dump(mode="json")}}
        record = self.catalog.versions.create(run.id, self.columns, about)
        target = ClickHouseTarget(options, parse_url(CONNECTION, self.url, "the test"))
        try:
            version = Version(self.asset, record.id, tuple(Field(f.column, f.number) for f in record.fields))
            (batch,) = rows.combine_chunks().to_batches()
            assert load_whole(target, version, [batch]).rows == rows.num_rows
            self.catalog.versions.loaded(record.id, rows=rows.num_rows)
            flip = self.catalog.publish(lease, Publication(record.id, None, definitions))
            target.publish(version)
            self.catalog.pointer_confirmed(self.asset, "clickhouse", record.id)
        finally:
            target.close()
        self.catalog.runs.finish(run.id, RunState.SUCCEEDED)
        self.catalog.leases.release(lease)
        return flip.version

    def drop(self, version: VersionRecord) -> None:
        """Remove an old version from the store, as a run's last step does."""
        options = ClickHouseOptions(connection=CONNECTION, order_by=("id",))
        target = ClickHouseTarget(options, parse_url(CONNECTION, self.url, "the test"))
        target.drop(Version(self.asset, version.id, tuple(Field(f.column, f.number) for f in version.fields)))
        target.close()


@contextmanager
def olap_workspace(folder: Path, url: str) -> Iterator[tuple[Settings, Catalog]]:
    """Settings of an empty catalog in a folder, whose connection `olap` is this ClickHouse; and the catalog."""
    connections = folder / "connections.yaml"
    connections.write_text(f"{CONNECTION}: {url}\n")
    settings = Settings.from_env({"MILLRACE_HOME": str(folder), "MILLRACE_CONNECTIONS": str(connections)})
    with Catalog.open(settings.catalog_url) as catalog:
        yield settings, catalog
