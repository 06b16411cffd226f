"""A stream of rows as bytes: Arrow IPC, NDJSON or CSV, with the row count and a checksum at its end.

| format | media type | its end |
|---|---|---|
| Arrow IPC | application/vnd.apache.arrow.stream | a last batch of no rows, with metadata `rows`, `checksum` |
| NDJSON | application/x-ndjson | a last line `{"@end":{"rows":…,"checksum":"sha256:…"}}` |
| CSV | text/csv | nothing that would be a row: the trailers alone |

The checksum is SHA-256 over all bytes before the end. Over HTTP both stand in the trailers `Millrace-Rows` and
`Millrace-Checksum`, too. A stream without its end was cut off: its rows are not all.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from millrace.connectors.base import Field
from millrace.spec.types import Column, Kind

if TYPE_CHECKING:
    import pyarrow as pa

END = "@end"
_SLICE_ROWS = 16_384
_BARE = frozenset(
    {Kind.BOOLEAN, Kind.TINYINT, Kind.SMALLINT, Kind.INT, Kind.BIGINT, Kind.FLOAT, Kind.DOUBLE, Kind.DECIMAL}
)


@dataclass
class Summary:
    """What has gone out so far; whole once `ended`."""

    rows: int = 0
    checksum: str = ""
    ended: bool = False


class Encoder(ABC):
    """Turns batches into bytes. One for each stream: `begin`, then `batch` for each, then `end`."""

    media_type: ClassVar[str]

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = tuple(columns)

    def begin(self) -> bytes:
        return b""

    @abstractmethod
    def batch(self, batch: pa.RecordBatch) -> bytes: ...

    def end(self, summary: Summary) -> bytes:
        """What tells the end, behind all that the checksum is of."""
        return b""


class ArrowEncoder(Encoder):
    media_type = "application/vnd.apache.arrow.stream"

    def begin(self) -> bytes:
        import pyarrow as pa

        from millrace.connectors.wire.arrow_types import to_arrow

        self._schema = pa.schema([(column.name, to_arrow(column.type)) for column in self.columns])
        self._sink = io.BytesIO()
        self._writer = pa.ipc.new_stream(self._sink, self._schema)
        return self._taken()

    def batch(self, batch: pa.RecordBatch) -> bytes:
        self._writer.write_batch(batch.cast(self._schema))
        return self._taken()

    def end(self, summary: Summary) -> bytes:
        import pyarrow as pa

        last: Any = pa.RecordBatch.from_pylist([], schema=self._schema)
        self._writer.write_batch(
            last, custom_metadata={b"rows": b"%d" % summary.rows, b"checksum": summary.checksum.encode()}
        )
        self._writer.close()
        return self._taken()

    def _taken(self) -> bytes:
        found = self._sink.getvalue()
        self._sink.seek(0)
        self._sink.truncate()
        return found


class NdjsonEncoder(Encoder):
    """One object a line, as rows are in JSON everywhere: see `millrace.connectors.wire.json`."""

    media_type = "application/x-ndjson"

    def __init__(self, columns: Sequence[Column]) -> None:
        super().__init__(columns)
        self._fields = [Field(column, number) for number, column in enumerate(columns, start=1)]

    def batch(self, batch: pa.RecordBatch) -> bytes:
        from millrace.connectors.wire.json import encode

        rows: Any = encode(batch, self._fields).values
        return b"".join(line + b"\n" for line in rows.to_pylist())

    def end(self, summary: Summary) -> bytes:
        told = {END: {"rows": summary.rows, "checksum": summary.checksum}}
        return json.dumps(told, separators=(",", ":")).encode() + b"\n"


class CsvEncoder(Encoder):
    """RFC 4180 with a header. Text, times and nested values (as JSON) are quoted, empty texts too; null is nothing."""

    media_type = "text/csv"

    def __init__(self, columns: Sequence[Column]) -> None:
        super().__init__(columns)
        self._fields = [Field(column, number) for number, column in enumerate(columns, start=1)]

    def begin(self) -> bytes:
        names = (column.name.replace('"', '""') for column in self.columns)
        return ",".join(f'"{name}"' for name in names).encode() + b"\r\n"

    def batch(self, batch: pa.RecordBatch) -> bytes:
        import pyarrow as pa
        from pyarrow import csv

        from millrace.connectors.wire.text import encode

        texts = encode(batch, self._fields).columns
        columns = [
            array if column.type.kind in _BARE else _base64(array) if column.type.kind is Kind.BINARY else text
            for column, array, text in zip(self.columns, batch.columns, texts, strict=True)
        ]
        sink = pa.BufferOutputStream()
        options = csv.WriteOptions(include_header=False)
        table = pa.Table.from_arrays(columns, names=[column.name for column in self.columns])
        csv.write_csv(table, sink, options)
        return sink.getvalue().to_pybytes()


def _base64(array: pa.Array[Any]) -> pa.Array[Any]:
    import pyarrow as pa

    return pa.array([None if value is None else base64.b64encode(value).decode() for value in array.to_pylist()])


def encode_whole(rows: Sequence[Sequence[Any]], encoder: Encoder, summary: Summary) -> bytes:
    """All bytes of an answer that is there already, as a stream of it would be."""
    import pyarrow as pa

    from millrace.connectors.wire.arrow_types import to_arrow

    schema = pa.schema([(column.name, to_arrow(column.type)) for column in encoder.columns])
    values = zip(*rows, strict=True) if rows else ([] for _ in encoder.columns)
    arrays = [pa.array(list(v), type=f.type) for v, f in zip(values, schema, strict=True)]
    begun = encoder.begin() + (encoder.batch(pa.RecordBatch.from_arrays(arrays, schema=schema)) if rows else b"")
    summary.rows, summary.ended = len(rows), True
    summary.checksum = f"sha256:{hashlib.sha256(begun).hexdigest()}"
    return begun + encoder.end(summary)


async def encoded(
    batches: AsyncIterator[pa.RecordBatch], encoder: Encoder, summary: Summary
) -> AsyncGenerator[bytes, None]:
    """The bytes of a stream, piece by piece; `summary` is filled on the way. Close it to stop the store's work.

    What fails on the way is raised, and the end is not sent: nobody can take the part for the whole.
    """
    digest = hashlib.sha256()
    try:
        first = encoder.begin()
        digest.update(first)
        if first:
            yield first
        async for batch in batches:
            for start in range(0, batch.num_rows, _SLICE_ROWS):
                part = batch.slice(start, _SLICE_ROWS)
                piece = encoder.batch(part)
                digest.update(piece)
                summary.rows += part.num_rows
                yield piece
        summary.checksum = f"sha256:{digest.hexdigest()}"
        summary.ended = True
        last = encoder.end(summary)
        if last:
            yield last
    finally:
        close = getattr(batches, "aclose", None)
        if close is not None:
            await close()
