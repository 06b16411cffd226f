"""The stage as the steps after it read it.

Where its files can be seen from here and from the tasks, Arrow reads them in Spark's Python workers, without a way
through the JVM's rows; a stage that is not worth a task is read by this process itself. Any other stage is Spark's to
read. In each stage lies its schema, so that Spark needs no job of its own to find it out from the files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from millrace.jobs.batches import map_batches
from millrace.jobs.columns import named, quoted
from millrace.jobs.staged_files import Pieces, Selection, divide, pieces_of, read_pieces
from millrace.jobs.storage import Storage

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

    Batches = Iterator[pa.RecordBatch]

_NULLABLE = frozenset({"nullable", "containsNull", "valueContainsNull"})

#: What isn't worth a task: fewer rows than stand in one batch, in a few MiB.
SMALL_ROWS = 32_768
SMALL_BYTES = 16 << 20


class StagedRows(Protocol):
    """Some rows of a stage. Nothing is read before it is asked for."""

    def select(self, columns: Sequence[str]) -> StagedRows: ...

    def split(self, deletes: str) -> tuple[StagedRows, StagedRows]:
        """The rows that are to be there, and those that are to go away, by a boolean column."""

    def count(self) -> int: ...

    def through(self, function: Callable[[Batches], Batches], schema: str) -> list[Mapping[str, Any]]:
        """The rows that come out where every channel's batches go through a function; `schema` is what it gives."""


class Place(Protocol):
    """Where a stage is: the file system, and a session to read it with."""

    @property
    def storage(self) -> Storage: ...

    def spark(self) -> SparkSession: ...


def keep_schema(storage: Storage, stage: str, schema: StructType) -> None:
    """Write down a stage's columns, as Spark will read them: what comes from a file may be null."""
    storage.write(_schema_file(stage), json.dumps(_nullable(schema.jsonValue())).encode())


def staged_frame(place: Place, stage: str) -> DataFrame:
    """The stage as Spark reads it."""
    schema = _schema(place.storage, stage)
    reader = place.spark().read
    return (reader if schema is None else reader.schema(schema)).parquet(stage)


def staged_rows(place: Place, stage: str, channels: int | None = None) -> StagedRows:
    """The stage, in as many channels at most. A small one needs no session."""
    files = place.storage.local_files(stage)
    schema = _as_in_a_task(_schema(place.storage, stage), files) if files else None
    if schema is not None:
        pieces = pieces_of(files)
        return _FileRows(place, Selection(schema), divide(pieces, channels or len(pieces)))
    frame = staged_frame(place, stage)
    return _SparkRows(frame if channels is None else frame.coalesce(channels))


@dataclass(frozen=True)
class _SparkRows:
    """Rows that come through Spark's own reader."""

    frame: DataFrame

    def select(self, columns: Sequence[str]) -> _SparkRows:
        return _SparkRows(self.frame.select(*map(quoted, columns)))

    def split(self, deletes: str) -> tuple[_SparkRows, _SparkRows]:
        from pyspark.sql import functions as f

        goes = f.coalesce(named(deletes), f.lit(False))
        return _SparkRows(self.frame.filter(~goes)), _SparkRows(self.frame.filter(goes))

    def count(self) -> int:
        return self.frame.count()

    def through(self, function: Callable[[Batches], Batches], schema: str) -> list[Mapping[str, Any]]:
        return [row.asDict() for row in map_batches(self.frame, function, schema).collect()]


@dataclass(frozen=True)
class _FileRows:
    """Rows of files that this process and every task can read; `channels` says which pieces each channel reads."""

    place: Place
    selection: Selection
    channels: Sequence[Pieces]

    def select(self, columns: Sequence[str]) -> _FileRows:
        return replace(self, selection=replace(self.selection, columns=tuple(columns)))

    def split(self, deletes: str) -> tuple[_FileRows, _FileRows]:
        one, other = (replace(self.selection, deletes=deletes, deleted=deleted) for deleted in (False, True))
        return replace(self, selection=one), replace(self, selection=other)

    def count(self) -> int:
        mark = (self.selection.deletes,) if self.selection.deletes is not None else self.selection.schema.names[:1]
        return sum(int(row["rows"]) for row in self.select(mark).through(_counted, "rows bigint"))

    def through(self, function: Callable[[Batches], Batches], schema: str) -> list[Mapping[str, Any]]:
        pieces = [piece for channel in self.channels for piece in channel]
        if sum(p.rows for p in pieces) <= SMALL_ROWS and sum(p.size for p in pieces) <= SMALL_BYTES:
            found = function(read_pieces(pieces, self.selection))
            return [row for batch in found for row in batch.to_pylist()]
        one_each = self.place.spark().range(0, len(self.channels), 1, len(self.channels))
        task = _Channel(function, tuple(self.channels), self.selection)
        return [row.asDict() for row in one_each.mapInArrow(task, schema).collect()]


@dataclass(frozen=True)
class _Channel:
    """A task: the pieces of the channel whose number it gets, read and put through a function."""

    function: Callable[[Batches], Batches]
    channels: Sequence[Pieces]
    selection: Selection

    def __call__(self, numbers: Batches) -> Batches:
        mine = [piece for batch in numbers for number in batch.column(0) for piece in self.channels[number.as_py()]]
        return self.function(read_pieces(mine, self.selection))


def _counted(batches: Batches) -> Batches:
    import pyarrow as pa

    yield pa.RecordBatch.from_pydict({"rows": pa.array([sum(batch.num_rows for batch in batches)], pa.int64())})


def _as_in_a_task(schema: StructType | None, files: Sequence[Path]) -> pa.Schema | None:
    """The types that Spark hands to a task; None where Arrow can't make these files' columns into them."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyspark.sql.pandas.types import to_arrow_schema

    if schema is None:
        return None
    try:
        wanted = to_arrow_schema(schema, timezone="UTC")
        pq.read_schema(files[0]).empty_table().cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError):
        return None
    return wanted


def _schema(storage: Storage, stage: str) -> StructType | None:
    """What was written down; None for a stage of an older release."""
    from pyspark.sql.types import StructType

    file = _schema_file(stage)
    return StructType.fromJson(json.loads(storage.read(file))) if storage.exists(file) else None


def _nullable(node: Any) -> Any:
    """A schema's JSON with every field, element and value nullable."""
    if isinstance(node, list):
        return [_nullable(part) for part in node]
    if not isinstance(node, dict):
        return node
    return {
        key: True if key in _NULLABLE else part if key == "metadata" else _nullable(part) for key, part in node.items()
    }


def _schema_file(stage: str) -> str:
    return f"{stage}/_schema.json"  # Spark reads no file that begins so
