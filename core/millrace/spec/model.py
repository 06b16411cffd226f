"""What a spec says, parsed and checked: frozen values that everything after the border works with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeAlias

from millrace.spec.connector import Mode, Options
from millrace.spec.interval import Interval
from millrace.spec.priority import Priority
from millrace.spec.types import DataType

JsonValue: TypeAlias = Any  # what YAML and JSON can hold: None, bool, int, float, str, lists and maps of them
Scalar: TypeAlias = str | int | float | bool


class Severity(StrEnum):
    """What a failed check does: `block` stops the publish, `warn` is only told, `quarantine` sets its rows aside."""

    BLOCK = "block"
    WARN = "warn"
    QUARANTINE = "quarantine"


class Subject(StrEnum):
    """Which rows a check is asked of: those after the transform, or those that were read from the source."""

    STAGE = "stage"
    SOURCE = "source"


class Measure(StrEnum):
    """What is compared with earlier versions."""

    ROW_COUNT = "row_count"
    NULL_SHARE = "null_share"
    MEAN = "mean"
    DISTINCT = "distinct"


class AlertEvent(StrEnum):
    CHECK_FAILED = "check_failed"
    CHECK_WARNED = "check_warned"
    RUN_FAILED = "run_failed"
    LATE = "late"
    RECOVERED = "recovered"


@dataclass(frozen=True)
class Where:
    """Keep the rows for which this Spark SQL expression is true."""

    expression: str


@dataclass(frozen=True)
class Select:
    """Keep these columns, in this order."""

    columns: tuple[str, ...]


@dataclass(frozen=True)
class Derive:
    """Add or replace columns, one after the other, by Spark SQL expressions."""

    columns: Mapping[str, str]


@dataclass(frozen=True)
class Rename:
    """Old name → new name, all at once."""

    columns: Mapping[str, str]


@dataclass(frozen=True)
class Cast:
    """Change types; a row with a value that can't be cast is a dirty record."""

    columns: Mapping[str, DataType]


@dataclass(frozen=True)
class Dedupe:
    """Keep one row a key: the `latest` or `earliest` by the column `by`, or `any` (then `by` is None)."""

    key: tuple[str, ...]
    keep: str
    by: str | None


@dataclass(frozen=True)
class Mask:
    """Make columns unreadable: `hash` (SHA-256 as hex) or `redact` (a fixed text)."""

    columns: tuple[str, ...]
    method: str


@dataclass(frozen=True)
class Sql:
    """A free Spark SQL query over the view `input`."""

    query: str


Step: TypeAlias = Where | Select | Derive | Rename | Cast | Dedupe | Mask | Sql


@dataclass(frozen=True)
class NotNull:
    columns: tuple[str, ...]
    severity: Severity = Severity.BLOCK
    on: Subject = Subject.STAGE


@dataclass(frozen=True)
class Unique:
    """The columns together are unique."""

    columns: tuple[str, ...]
    severity: Severity = Severity.BLOCK
    on: Subject = Subject.STAGE


@dataclass(frozen=True)
class Between:
    """`min` ≤ value ≤ `max`; one of the bounds may be None. Nulls pass."""

    column: str
    min: Scalar | None
    max: Scalar | None
    severity: Severity = Severity.BLOCK
    on: Subject = Subject.STAGE


@dataclass(frozen=True)
class InSet:
    """The value is one of `values`. Nulls pass."""

    column: str
    values: tuple[Scalar, ...]
    severity: Severity = Severity.BLOCK
    on: Subject = Subject.STAGE


@dataclass(frozen=True)
class RowCount:
    """`min` ≤ rows ≤ `max`; `change` is the share (0.2 = 20 %) by which they may differ from the current version."""

    min: int | None
    max: int | None
    change: float | None
    severity: Severity = Severity.BLOCK
    on: Subject = Subject.STAGE


@dataclass(frozen=True)
class Expectation:
    """Any Great Expectations expectation by its snake_case name, with that expectation's own arguments."""

    name: str
    arguments: Mapping[str, JsonValue]
    severity: Severity = Severity.BLOCK
    on: Subject = Subject.STAGE


@dataclass(frozen=True)
class Fresh:
    """The latest time in `column` is not older than `within` at the end of the run's interval, or else now."""

    column: str
    within: timedelta
    severity: Severity = Severity.BLOCK
    on: Subject = Subject.STAGE


@dataclass(frozen=True)
class SqlCheck:
    """A Spark SQL query that must return no rows, over the view `stage` or `source` (also named `input`)."""

    name: str
    query: str
    severity: Severity = Severity.BLOCK
    on: Subject = Subject.STAGE


@dataclass(frozen=True)
class Drift:
    """A measure of the stage lies near that of the last published `versions`.

    Near is within `ratio` of their mean (of a null share: as many points), or within that many standard `deviations`:
    one of the two. `columns` is empty for the row count.
    """

    measure: Measure
    columns: tuple[str, ...]
    versions: int
    ratio: float | None
    deviations: float | None
    severity: Severity = Severity.BLOCK
    on: Subject = Subject.STAGE


@dataclass(frozen=True)
class Reconcile:
    """The stage is what the run's plan of the source comes to once more.

    `rows` is the share by which the numbers of rows may differ, `sums` are columns whose sums must be equal, and
    `sample` is about how many rows are compared whole. None and empty: not asked.
    """

    rows: float | None
    sums: tuple[str, ...]
    sample: int | None
    severity: Severity = Severity.BLOCK
    on: Subject = Subject.STAGE


Check: TypeAlias = NotNull | Unique | Between | InSet | RowCount | Expectation | Fresh | SqlCheck | Drift | Reconcile


@dataclass(frozen=True)
class SourceEntry:
    connector: str
    options: Options


@dataclass(frozen=True)
class TargetEntry:
    """One target; `name` is unique within the spec and is the connector's unless the spec gives another."""

    name: str
    connector: str
    options: Options


@dataclass(frozen=True)
class Schedule:
    """When runs start: by `cron` in `timezone`, or after other assets were published. One of the two."""

    cron: str | None = None
    after: tuple[str, ...] = ()
    timezone: str = "UTC"
    start: date | None = None
    catch_up: bool = False


@dataclass(frozen=True)
class DirtyLimits:
    """How many rows may be set aside, as a count and as a share of the rows read; None: no limit of that kind."""

    max_rows: int | None = 0
    max_ratio: float | None = None


@dataclass(frozen=True)
class Limits:
    """`channels` tasks read and write side by side; the speeds hold over all channels together."""

    channels: int = 4
    rows_per_second: int | None = None
    bytes_per_second: int | None = None
    dirty: DirtyLimits = DirtyLimits()
    timeout: timedelta | None = None
    quarantine: DirtyLimits = DirtyLimits()


@dataclass(frozen=True)
class Alert:
    """Who is told of what. `late_after` is how long after its time a publish may come; None: the usual time."""

    on: tuple[AlertEvent, ...]
    to: str
    late_after: timedelta | None = None


@dataclass(frozen=True)
class Versions:
    """How many old versions are kept, so that a rollback finds them."""

    keep: int = 2


@dataclass(frozen=True)
class TestEnvironment:
    """The isolated environment of `millrace test`: connection in the spec → connection used in its place."""

    __test__ = False  # not a test class, whatever pytest thinks of its name
    connections: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Api:
    """One API over the asset. `kind` is `kv`, `sql` or `union`; `definition` is its validated model, as JSON."""

    name: str
    kind: str
    definition: Mapping[str, JsonValue]


@dataclass(frozen=True)
class Spec:
    """One asset's spec. `text` is the file as it was written, `digest` its SHA-256 in hex, `path` is for messages.

    `interval` is the one that the spec was filled in for, where it has `{{ ds }}` or the like.
    """

    version: int
    asset: str
    source: SourceEntry
    targets: tuple[TargetEntry, ...]
    owner: str = ""
    description: str = ""
    business_line: str = ""
    priority: Priority = Priority.MEDIUM
    schedule: Schedule | None = None
    transform: tuple[Step, ...] = ()
    checks: tuple[Check, ...] = ()
    mode: Mode = Mode.REPLACE
    deletes: str | None = None
    latest_by: str | None = None
    limits: Limits = Limits()
    alerts: tuple[Alert, ...] = ()
    versions: Versions = Versions()
    apis: tuple[Api, ...] = ()
    test: TestEnvironment = TestEnvironment()
    interval: Interval | None = None
    path: Path = Path("spec.yaml")
    text: str = field(default="", repr=False)
    digest: str = ""
