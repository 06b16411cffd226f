"""The contract of a connector's code: what a source and a target do, when each part is called, and how often.

Life of a run, as a connector sees it. D = on the driver, E = in a Spark task on an executor.

    Source.plan      D  once; its answer is frozen in the catalog, a retry of the run gets the same plan
    Source.read      D  builds a DataFrame of exactly what the plan says; evaluated once
    Target.foresee   D  before `prepare`, where `wanted_keys` asks for some of the keys that will be loaded
    Target.prepare   D  before a load; may be called again after a crash and then starts the version anew
    Target.loader    D  gives the `Loader`, which is pickled and opened in each task
    Loader.*         E  a task may be killed and run again: what it wrote must be overwritten, never doubled
    Target.seal      D  when every loader has finished; after a failure the load starts again with `prepare`
    Target.verify…   D  `probe` (E, over the key columns) or `count` (D), then `mismatches` on a sample
    Target.publish   D  atomic for this store's readers; called again after a crash (idempotent)
    Target.eraser    E  over the key columns of a retired or rejected version
    Target.drop      D  removes what else that version has; unknown versions are no error

Anything may raise `TransientError` (the step is tried again) or a `RunFailed` (it is not).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from millrace.spec.connection import Connection
from millrace.spec.connector import Mode, Options
from millrace.spec.types import Column

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

MAX_RAW_BYTES = 1 << 20


@dataclass(frozen=True)
class DirtyRow:
    """A row that can't be converted or written. `origin` is a file and line, an offset or a key."""

    reason: str
    origin: str
    raw: bytes


class Gate(Protocol):
    """What a task tells the run, and asks of it, batch by batch. Picklable; connects when first used.

    A task that is run again replaces what its earlier attempt reported.
    """

    def admit(self, rows: int, size: int) -> None:
        """Wait until the job's rows/s and bytes/s budget allows this batch (`size` in bytes).

        Raises Cancelled when the run was stopped meanwhile, by a person, a timeout or a limit.
        """

    def done(self, rows: int, size: int, dirty: Sequence[DirtyRow] = (), waited: float = 0.0) -> None:
        """Report a batch: `rows` passed on (dirty ones not among them), the batch's bytes, the rows set aside.

        `waited` is the seconds spent waiting: for the source when reading, for the store when loading. Raises Cancelled
        when the dirty rows go over the run's limit.
        """


@dataclass(frozen=True)
class Window:
    """The data interval of a run: `[start, end)` in UTC; None for a run without one."""

    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True)
class PlanRequest:
    """What a source may know when it plans. `spark` starts a session when it is called: avoid it if you can."""

    channels: int
    window: Window
    watermark: Mapping[str, Any] | None
    spark: Callable[[], SparkSession]


@dataclass(frozen=True)
class SourcePlan:
    """A run's frozen inputs. Everything in it is JSON: it is kept in the catalog and printed by `millrace plan`."""

    columns: tuple[Column, ...]
    splits: tuple[Mapping[str, Any], ...]
    estimated_rows: int | None = None
    estimated_bytes: int | None = None
    watermark: Mapping[str, Any] | None = None  # advances with publish
    details: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # for a person, e.g. "no split column: read by one channel"


@dataclass(frozen=True)
class ArrowTasks:
    """Tasks in Python that make a source's rows: of what Spark hands them of `given`, batches of the plan's types."""

    given: DataFrame
    task: Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


@dataclass(frozen=True)
class SourceRead:
    """A DataFrame of the plan's columns. `gated`: its own tasks already pass every batch through the gate.

    `tasks` are there when the frame is what they make and nothing else: they can then write the stage themselves.
    """

    frame: DataFrame
    gated: bool
    tasks: ArrowTasks | None = None


@dataclass(frozen=True)
class Lag:
    """How far what is published is behind its source: messages (or rows) that no published run has read."""

    behind: int
    parts: Mapping[str, int] = field(default_factory=dict)  # by partition, where there are any


@dataclass(frozen=True)
class Totals:
    """What a source itself says of a plan: its rows, and the sums of some columns (None: there is no value)."""

    rows: int
    sums: Mapping[str, Decimal | float | None] = field(default_factory=dict)


class Source(ABC):
    """How to read from one system. Made with validated options and a resolved connection (or none).

    `others` are the connections that `Options.other_connections` names, by their names in the spec.
    """

    #: Of a source that isn't gated: the names of Spark's own metrics that tell how long its tasks waited for it.
    wait_metrics: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, options: Options, connection: Connection | None, others: Mapping[str, Connection] | None = None
    ) -> None:
        self.options = options
        self.connection = connection
        self.others = others or {}

    @abstractmethod
    def plan(self, request: PlanRequest) -> SourcePlan:
        """Freeze what a run will read. Raises SourceError naming what is missing and what there is."""

    @abstractmethod
    def read(self, spark: SparkSession, plan: SourcePlan, gate: Gate) -> SourceRead:
        """A DataFrame of exactly what `plan` says. Rows that can't be parsed go to `gate.done(dirty=…)`."""

    def totals(self, plan: SourcePlan, columns: Sequence[str]) -> Totals:
        """Rows of exactly what `plan` says, and the sums of numeric `columns`. Only when the role says `totals`."""
        raise NotImplementedError

    def lag(self, watermark: Mapping[str, Any] | None) -> Lag:
        """What came after a published watermark. Only when the role says `lag`; asks the source, and reads nothing."""
        raise NotImplementedError


@dataclass(frozen=True)
class Field:
    """A column of a version, with the Protobuf field number that stays with its name for ever."""

    column: Column
    number: int

    @property
    def name(self) -> str:
        return self.column.name


@dataclass(frozen=True)
class Version:
    """One immutable version of an asset, as a store needs to know it.

    `rows_id` is the id under which the store keeps the rows. A version of `replace`, and the first of `merge` and
    `append`, has rows of its own (`rows_id == id`); the ones that follow change the rows of that first one, and all
    of such a line share its `rows_id`.
    """

    asset: str
    id: str
    fields: tuple[Field, ...]
    mode: Mode = Mode.REPLACE
    rows_id: str = ""  # its own id when empty
    window: Window = field(default_factory=Window)  # of `append`: the interval that this version overwrites
    deletes: str | None = None  # of `merge`: a boolean column, not among the fields; true: the row's key goes away

    def __post_init__(self) -> None:
        if not self.rows_id:
            object.__setattr__(self, "rows_id", self.id)

    @property
    def columns(self) -> tuple[Column, ...]:
        return tuple(f.column for f in self.fields)

    @property
    def own_rows(self) -> bool:
        """Whether this version began its line: its rows may be removed with it while no other one shares them."""
        return self.rows_id == self.id


@dataclass(frozen=True)
class Loaded:
    """What one call has written and the store has confirmed; rows and bytes of the store's wire format."""

    rows: int = 0
    size: int = 0
    dirty: tuple[DirtyRow, ...] = ()


class Loader(Protocol):
    """Writes Arrow batches from a Spark task. Made on the driver, pickled, opened once in each task.

    The sum over `load` and `finish` must account for every row: confirmed or dirty.
    """

    def open(self) -> None: ...

    def load(self, batch: pa.RecordBatch) -> Loaded:
        """Encode by column and send. A later call or `finish` may confirm what this one sent."""

    def finish(self) -> Loaded:
        """Wait for every confirmation that is still out."""

    def close(self) -> None:
        """Free the connection; called also after a failure."""


class BatchTask(Protocol):
    """Work over the key columns of a version in a Spark task, such as counting or erasing keys."""

    def open(self) -> None: ...

    def run(self, batch: pa.RecordBatch) -> int:
        """Handle one batch; the number of keys found or erased."""

    def close(self) -> None: ...


class Target(ABC):
    """How to load, verify, publish and retire versions in one store. Made with options and a connection."""

    #: The columns that tell rows apart in `merge`, and that `probe` and `eraser` read; filled in by `__init__`.
    key_columns: tuple[str, ...] = ()
    #: Whether `probe` is used to count (over key columns, in tasks) instead of `count` (on the driver).
    probes: ClassVar[bool] = False

    def __init__(self, options: Options, connection: Connection) -> None:
        self.options = options
        self.connection = connection

    @abstractmethod
    def check(self, columns: Sequence[Column]) -> None:
        """Before anything is written: reach the store, and raise for columns that its layout can't hold."""

    def wanted_keys(self, version: Version) -> int:
        """How many keys of a version's rows `foresee` wants to see before `prepare`; none, and no cost, by default."""
        return 0

    def foresee(self, version: Version, keys: pa.Table) -> None:
        """Look at the key columns of rows drawn evenly from a version, for the `prepare` that follows."""

    @abstractmethod
    def prepare(self, version: Version) -> None:
        """Make room for a version. Called again after a crash: what was half-written is gone afterwards."""

    @abstractmethod
    def loader(self, version: Version) -> Loader: ...

    def seal(self, version: Version) -> None:
        """Put together what the tasks have written, where a store needs that. Called again it changes nothing."""

    def probed(self, version: Version) -> bool:
        """Whether this version's rows are counted by `probe`, and not by `count`."""
        return self.probes

    def probe(self, version: Version) -> BatchTask:
        """Counts which of the keys in a batch the store holds. Only of versions that are `probed`."""
        raise NotImplementedError

    def count(self, version: Version) -> int:
        """Rows that the store holds of this version. Only of versions that are not `probed`."""
        raise NotImplementedError

    @abstractmethod
    def mismatches(self, version: Version, sample: pa.Table) -> list[str]:
        """Read the sample's rows back through the layout; one line for each row that differs (got, expected)."""

    @abstractmethod
    def publish(self, version: Version) -> None:
        """Make this version the one that readers see, in one atomic step. Idempotent; also used to roll back."""

    @abstractmethod
    def current(self, asset: str) -> str | None:
        """The id of the version that this store's readers see now."""

    def eraser(self, version: Version) -> BatchTask | None:
        """Erases the keys of a version, batch by batch; None where `drop` alone removes everything.

        Who asks for it runs it over all of the version's rows: `drop` of the same target then counts on that.
        """
        return None

    @abstractmethod
    def drop(self, version: Version) -> None:
        """Remove what the eraser does not. Never the current version: raises TargetError then."""

    def forget(self, version: Version) -> None:
        """Remove what belongs to this version alone (its manifest, a table beside), and no row that others share.

        Called in place of `eraser` and `drop` for a version of `merge` or `append` whose rows other versions share.
        Unknown versions are no error.
        """

    def unpublish(self, asset: str) -> None:
        """Take away the pointer of an asset that has no version left (end of a test, removal of an asset)."""
        raise NotImplementedError

    @abstractmethod
    def close(self) -> None: ...
