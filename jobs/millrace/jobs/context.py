"""What the steps of a run share: the spec, the catalog, the gate, the Spark session, the storage, the targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from millrace.catalog import Catalog, Lease, RunRecord, VersionRecord
from millrace.connectors.base import Field, Source, Target, Version, Window
from millrace.errors import ConfigError, NotFound
from millrace.jobs.budget import DirtyLimit
from millrace.jobs.gate import GateServer, StepLimits
from millrace.jobs.monitor import Monitor
from millrace.jobs.plan import RunPlan
from millrace.jobs.session import SessionHolder
from millrace.jobs.storage import Storage, storage
from millrace.spec import Spec
from millrace.spec.connection import Connection, resolve
from millrace.spec.connector import Mode, Options, connectors, implementation
from millrace.spec.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Stats = Mapping[str, Any]


class Observer(Protocol):
    """Who watches a run: a progress display, a log, a test. Called from several threads."""

    def step_started(self, step: str) -> None: ...

    def step_progress(self, step: str, rows: int, size: int, expected: int | None) -> None: ...

    def step_finished(self, step: str, stats: Stats) -> None: ...

    def note(self, text: str) -> None: ...


class Silent:
    """An observer that shows nothing."""

    def step_started(self, step: str) -> None:
        """Nothing to show."""

    def step_progress(self, step: str, rows: int, size: int, expected: int | None) -> None:
        """Nothing to show."""

    def step_finished(self, step: str, stats: Stats) -> None:
        """Nothing to show."""

    def note(self, text: str) -> None:
        """Nothing to show."""


@dataclass(frozen=True)
class Driver:
    """What a process brings to a run of a spec: the catalog, and a Spark session that starts when it is first used."""

    spec: Spec
    settings: Settings
    catalog: Catalog
    session: SessionHolder
    observer: Observer = field(default_factory=Silent)
    connections: Mapping[str, str] = field(default_factory=dict)  # other names to use, as in `millrace test`

    def spark(self) -> SparkSession:
        """The session, waiting for it."""
        return self.session.get()

    @property
    def storage(self) -> Storage:
        return storage(self.settings.work_dir, self.spark)

    def source(self) -> Source:
        return open_source(self.spec, self.connection)

    def target(self, name: str) -> Target:
        return open_target(self.spec, name, self.connection)

    def connection(self, name: str) -> Connection:
        return connections_of(self.settings, self.connections)(name)


@dataclass(frozen=True)
class RunContext:
    """One run of one spec at work in this process."""

    driver: Driver
    run_id: str
    lease: Lease
    gate: GateServer
    monitor: Monitor

    @property
    def spec(self) -> Spec:
        return self.driver.spec

    @property
    def catalog(self) -> Catalog:
        return self.driver.catalog

    @property
    def storage(self) -> Storage:
        return self.driver.storage

    @property
    def observer(self) -> Observer:
        return self.driver.observer

    @property
    def record(self) -> RunRecord:
        return self.catalog.runs.get(self.run_id)

    def spark(self) -> SparkSession:
        return self.driver.spark()

    def source(self) -> Source:
        return self.driver.source()

    def target(self, name: str) -> Target:
        return self.driver.target(name)

    def connection(self, name: str) -> Connection:
        return self.driver.connection(name)

    def step_stats(self, step: str) -> Stats:
        """What a finished step of this run left in the catalog; empty when it hasn't finished."""
        return next((s.stats for s in self.record.steps if s.name == step), {})

    def plan(self) -> RunPlan:
        frozen = self.record.plan
        if frozen is None:
            raise NotFound(f"run {self.run_id} has no plan", hint="its step 'plan' must come first")
        return RunPlan.from_json(frozen)

    def version(self) -> VersionRecord:
        version_id = self.record.version_id
        if version_id is None:
            raise NotFound(f"run {self.run_id} has no version", hint="its step 'check' must come first")
        return self.catalog.versions.get(version_id)

    def file(self, *parts: str) -> str:
        return self.storage.path(self.spec.asset, self.run_id, *parts)

    def limits(self, **changes: Any) -> StepLimits:
        """The spec's limits for one step."""
        limits = self.spec.limits
        return StepLimits(
            rows_per_second=limits.rows_per_second,
            bytes_per_second=limits.bytes_per_second,
            dirty=DirtyLimit(limits.dirty.max_rows, limits.dirty.max_ratio),
            **changes,
        )


def connections_of(settings: Settings, renamed: Mapping[str, str] | None = None) -> Callable[[str], Connection]:
    """How a spec's connection names are resolved, some of them under another name."""
    names = renamed or {}
    return lambda name: resolve(names.get(name, name), file=settings.connections_file)


def open_source(spec: Spec, connection: Callable[[str], Connection]) -> Source:
    """The code behind a spec's source. Raises NotAvailable for a connector that can't be read yet."""
    entry = spec.source
    role = connectors()[entry.connector].source
    if role is None:
        raise ConfigError(f"'{entry.connector}' can't be a source", hint="see `millrace connectors`")
    made = implementation(role.implementation, f"the source '{entry.connector}'")
    name = getattr(entry.options, "connection", None)
    others = {other: connection(other) for other in entry.options.other_connections()}
    source: Source = made(entry.options, connection(name) if name else None, others)
    return source


def open_target(spec: Spec, name: str, connection: Callable[[str], Connection]) -> Target:
    """The code behind one target of a spec. Raises NotAvailable for a connector that can't be loaded yet."""
    entry = next((t for t in spec.targets if t.name == name), None)
    if entry is None:
        names = ", ".join(t.name for t in spec.targets)
        raise NotFound(f"{spec.asset} has no target '{name}'", hint=f"its targets are: {names}")
    return _target(entry.connector, entry.options, name, connection)


def open_recorded(recorded: Mapping[str, Any], connection: Callable[[str], Connection]) -> Target:
    """The code behind a target as the catalog has kept it of a version: the spec may no longer have it.

    Raises ConfigError when its connector or its options are known no more.
    """
    connector = connectors().get(str(recorded["connector"]))
    role = connector.target if connector is not None else None
    if role is None:
        raise ConfigError(f"there is no target '{recorded['connector']}' any more", hint="see `millrace connectors`")
    try:
        options = role.options.model_validate(recorded["options"])
    except ValueError as error:
        raise ConfigError(f"options of a target '{recorded['connector']}' are valid no more: {error}") from error
    return _target(str(recorded["connector"]), options, "", connection)


def _target(connector: str, options: Options, name: str, connection: Callable[[str], Connection]) -> Target:
    role = connectors()[connector].target
    if role is None:
        raise ConfigError(f"'{connector}' can't be a target", hint="see `millrace connectors`")
    made = implementation(role.implementation, f"the target '{connector}'")
    target: Target = made(options, connection(getattr(options, "connection", name)))
    return target


def store_version(record: VersionRecord) -> Version:
    """A version of the catalog as a store needs to know it."""
    change = record.change
    return Version(
        asset=record.asset,
        id=record.id,
        fields=tuple(Field(f.column, f.number) for f in record.fields),
        mode=Mode(change.mode),
        rows_id=record.rows_id,
        window=Window(change.window_start, change.window_end),
        deletes=change.deletes,
    )
