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
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from millrace.spec.connection import Connection
from millrace.spec.connector import Mode, Options
from millrace.spec.types import Column, DataType

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


class KeyReader(Protocol):
    """Serving side of a store with lookups: follows the store's own pointer, one instance an asset and process.

    Made as `Reader(connection, asset)` from `TargetRole.reader`; used from one asyncio loop. A call sees one version
    from its beginning to its end: the one that was current when it began, or a later one.
    """

    async def open(self) -> None:
        """Connect, and read the pointer; no error when nothing is published yet."""

    async def get(self, key: Any) -> Mapping[str, Any] | None:
        """The row with this key as column → Python value, or None. A composite key is a tuple in the template's order.

        Raises NotFound when the asset has no published version, TransientError when the store can't be reached,
        ValueError for a key that doesn't fit.
        """

    async def multi_get(self, keys: Sequence[Any]) -> Sequence[Mapping[str, Any] | None]:
        """One answer for each key, in order, all from one version."""

    @property
    def version(self) -> str:
        """The id of the version that answers now. Raises NotFound when there is none."""

    async def close(self) -> None: ...


@dataclass(frozen=True, eq=False)
class Form:
    """How the rows of one version are stored. Made once for each version: equal only to itself.

    `encoding` is what a row's stored bytes are, e.g. `protobuf` (`wire.protobuf`), `json`, `msgpack`, or `row` where
    there are none of a whole row: stored is then what `decode` takes. `key` gives the bytes that a key is stored under,
    the version among them; `text_key` the same for a key of one column as text. Both raise ValueError for a misfit.
    """

    version: str
    fields: tuple[Field, ...]
    key_columns: tuple[str, ...]
    encoding: str
    key: Callable[[Any], bytes]
    text_key: Callable[[bytes], bytes]
    decode: Callable[[Any], Mapping[str, Any]]
    number_keys: Callable[[bytes], list[bytes] | None] | None = None  # of `1, 22, 333`; None for more than numbers

    def keys(self, keys: Sequence[Any]) -> list[bytes]:
        """`key` of each."""
        return [*map(self.key, keys)]

    def text_keys(self, texts: Sequence[bytes]) -> list[bytes]:
        """`text_key` of each."""
        return [*map(self.text_key, texts)]


class StoredReader(Protocol):
    """What a `KeyReader` can do besides when it can give rows as they are stored, which spares decoding them."""

    @property
    def form(self) -> Form:
        """Of the version that lookups see now. Raises NotFound when there is none."""

    async def fetch(self, form: Form, key: Any, stored_key: bytes) -> tuple[Form, Any]:
        """The row under `form.key(key)`, None when there is none; and its form, a later one if there was a flip."""

    async def fetch_all(
        self, form: Form, keys: Sequence[Any], stored_keys: Sequence[bytes] = ()
    ) -> tuple[Form, Sequence[Any]]:
        """The rows under many keys, all of one version. `stored_keys` is `form.keys(keys)` if that is made already."""


class OrderedReader(Protocol):
    """What a `KeyReader` of a store with ordered keys can do besides; lookups `range` and `prefix` in its role."""

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The columns of a key, in the order of its parts. Raises NotFound when nothing is published."""

    async def floor(self, key: Any) -> Mapping[str, Any] | None:
        """The row with the greatest key that is not above this one; of a composite key, with all parts but the last
        equal. The serving side then compares the row's own end: this is the first half of a range lookup."""

    async def scan(self, prefix: Sequence[Any], limit: int, after: Any = None) -> Sequence[Mapping[str, Any]]:
        """At most `limit` rows in the order of their keys, whose first key columns equal `prefix`, beyond the key
        `after`, all from one version."""


class WholeReader(Protocol):
    """What a `KeyReader` can do besides when it can give all of its rows; lookup `rows` in its role."""

    def all_rows(self, form: Form) -> AsyncIterator[Sequence[Any]]:
        """Every row of a form's version as it is stored, some at a time, in any order; one may come twice."""


class SqlResult(Protocol):
    """A query's answer: its columns by name, and its rows as Python values."""

    @property
    def columns(self) -> Sequence[str]: ...

    @property
    def rows(self) -> Sequence[Sequence[Any]]: ...


@dataclass(frozen=True)
class SqlTable:
    """Where the rows of one version of an asset are queried: the parts of the table's name, the last one its own.

    `version` is empty where the table has none: then it changes under its readers. `renamed` are columns that are
    called otherwise there: the asset's name for it, the table's. Of its rows, only those count that meet `where`, a
    condition in the store's own words.
    """

    version: str
    parts: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...] = ()
    where: str = ""


class SqlReader(Protocol):
    """Serving side of a store with SQL. Made as `Reader(connection)`; used from one asyncio loop.

    Raises NotFound for a version that is gone, TransientError when the store can't be reached or took too long, and
    TargetError for what it refuses. A call that is cancelled ends its statement in the store.
    """

    @property
    def dialect(self) -> str:
        """Whose SQL it speaks, and with that how parameters are written: clickhouse, druid or mysql."""

    async def open(self) -> None: ...

    async def table(self, asset: str, options: Mapping[str, Any], version: str | None = None) -> SqlTable:
        """Where the rows of a version are: the current one's, known for at most a second, or of one by its id.

        Raises NotFound when nothing is published; whether a version by its id is still there, the query tells.
        """

    async def query(
        self,
        sql: str,
        params: Mapping[str, Any] | Sequence[Any] | None = None,
        *,
        types: Sequence[DataType] = (),
        timeout_s: float | None = None,
    ) -> SqlResult:
        """Run a query; `params` are bound by the store or its driver, never put into the text here.

        With `types`, the columns' values are those of these types: ints, floats, Decimals, str, bytes, dates, times.
        """

    def stream(
        self,
        sql: str,
        params: Mapping[str, Any] | Sequence[Any] | None = None,
        *,
        types: Sequence[DataType],
        timeout_s: float | None = None,
    ) -> AsyncIterator[pa.RecordBatch]:
        """A query's rows as Arrow, batch by batch, as they come: memory doesn't grow with them.

        Close the iterator to end the statement before its end.
        """

    async def close(self) -> None: ...
