"""Parquet files of a stage, read by Arrow: divided into pieces, and piece by piece as batches of bounded size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

#: As Spark's own batches: spark.sql.execution.arrow.maxRecordsPerBatch and maxBytesPerBatch.
BATCH_ROWS = 32_768
BATCH_BYTES = 64 << 20
_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Piece:
    """A row group of a file. `size` is that of its values, before compression."""

    path: str
    group: int
    rows: int
    size: int


Pieces = Sequence[Piece]


@dataclass(frozen=True)
class Selection:
    """What is wanted of the rows: some columns (all: none named), and with `deletes` only those that go, or stay."""

    schema: pa.Schema
    columns: tuple[str, ...] = ()
    deletes: str | None = None
    deleted: bool = False

    def of(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The wanted part of a batch that has the columns of `read`."""
        if self.deletes is not None:
            import pyarrow.compute as pc

            mark: Any = batch.column(self.deletes)
            goes = mark.fill_null(False)
            batch = batch.filter(goes if self.deleted else pc.invert(goes))
        return batch.select(list(self.columns)) if self.columns else batch

    @property
    def read(self) -> pa.Schema:
        """The columns that have to be read."""
        import pyarrow as pa

        wanted = {*self.columns, self.deletes}
        return self.schema if not self.columns else pa.schema([field for field in self.schema if field.name in wanted])


def pieces_of(files: Sequence[Path]) -> list[Piece]:
    """All row groups of these files."""
    import pyarrow.parquet as pq

    found = []
    for file in files:
        metadata = pq.read_metadata(file)
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            found.append(Piece(str(file), number, group.num_rows, group.total_byte_size))
    return found


def divide(pieces: Pieces, channels: int) -> list[Pieces]:
    """As many shares as there are channels, or fewer: the largest piece goes to whoever has least."""
    shares: list[list[Piece]] = [[] for _ in range(max(1, min(channels, len(pieces))))]
    for piece in sorted(pieces, key=lambda piece: -piece.size):
        min(shares, key=lambda share: sum(p.size for p in share)).append(piece)
    return [tuple(share) for share in shares]


def read_pieces(pieces: Pieces, selection: Selection) -> Iterator[pa.RecordBatch]:
    """The batches of some pieces, of the selection's types and no larger than those that Spark hands to a task."""
    for piece in pieces:
        for batch in _read(piece, selection.read):
            wanted = selection.of(batch)
            if wanted.num_rows:
                yield wanted


def _read(piece: Piece, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    import pyarrow.parquet as pq

    rows = max(1, min(BATCH_ROWS, BATCH_BYTES * piece.rows // max(piece.size, 1)))
    with pq.ParquetFile(
        piece.path, pre_buffer=False, buffer_size=_READ_BYTES, coerce_int96_timestamp_unit="us"
    ) as file:
        whole = len(schema) == len(file.schema_arrow)
        names = None if whole else schema.names
        for batch in file.iter_batches(rows, row_groups=[piece.group], columns=names, use_threads=False):
            yield batch.select(schema.names).cast(schema)
