"""The task's side of a load by files: rows are collected, sorted, encoded by column and written for HBase to take over.

A chunk of rows becomes a file for each family in each region that it touches. Files of several chunks and tasks may lie
side by side in a region, as after several flushes. A task that is run again writes the same cells under the same
timestamp: whichever files HBase takes over, a row is there once.
"""

from __future__ import annotations

import time
import uuid
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from millrace.connectors.base import DirtyRow, Loaded
from millrace.connectors.hbase.columns import encode_keys, encode_rows
from millrace.connectors.hbase.endpoint import Endpoint
from millrace.connectors.hbase.layout import Manifest
from millrace.connectors.hbase.loader import ThriftLoader
from millrace.connectors.hbase.staging import Staging
from millrace.connectors.wire.dirty import dirty_row
from millrace.connectors.wire.hfile import HFileWriter, ascending, sorted_order
from millrace.connectors.wire.hfile_cells import Column, FamilyRows

#: A chunk in memory takes about four times this much while it is sorted and encoded.
CHUNK_BYTES = 96 << 20
#: With fewer rows in a task, `load: auto` sends them by Thrift: taking files over costs some seconds, however small.
AUTO_ROWS = 100_000
_PIECE_ROWS = 1 << 15


class BulkLoader:
    """Writes the rows of one version into files; see `millrace.connectors.base.Loader`.

    A row is confirmed when its file is whole; `HBaseTarget.seal` lets HBase take the files over. `auto`: a task that
    ends with few rows sends them by Thrift.
    """

    def __init__(self, endpoint: Endpoint, manifest: Manifest, bounds: Sequence[bytes], *, auto: bool) -> None:
        self._endpoint, self._manifest, self._bounds = endpoint, manifest, tuple(bounds)
        self._auto = auto
        self._staging: Staging | None = None
        self._batches: list[pa.RecordBatch] = []
        self._bytes = 0
        self._wrote = False

    def open(self) -> None:
        self._staging = Staging(self._endpoint.staging, self._manifest)
        self._batches, self._bytes, self._wrote = [], 0, False

    def load(self, batch: pa.RecordBatch) -> Loaded:
        self._batches.append(batch)
        self._bytes += batch.nbytes
        return self._flush() if self._bytes >= CHUNK_BYTES else Loaded()

    def finish(self) -> Loaded:
        if self._auto and not self._wrote and sum(batch.num_rows for batch in self._batches) < AUTO_ROWS:
            return self._by_thrift()
        return self._flush()

    def close(self) -> None:
        self._batches = []
        self._staging = None

    def _by_thrift(self) -> Loaded:
        loader = ThriftLoader(self._endpoint, self._manifest)
        loader.open()
        try:
            parts = [*(loader.load(batch) for batch in self._batches), loader.finish()]
        finally:
            loader.close()
        self._batches, self._bytes = [], 0
        dirty = tuple(row for part in parts for row in part.dirty)
        return Loaded(sum(part.rows for part in parts), sum(part.size for part in parts), dirty)

    def _flush(self) -> Loaded:
        batches, self._batches, self._bytes = self._batches, [], 0
        parts = (
            [self._write(batch) for batch in pa.Table.from_batches(batches).combine_chunks().to_batches()]
            if batches
            else []
        )
        dirty = tuple(row for part in parts for row in part.dirty)
        return Loaded(sum(part.rows for part in parts), sum(part.size for part in parts), dirty)

    def _write(self, batch: pa.RecordBatch) -> Loaded:
        """Sort the rows and write them, region by region."""
        self._wrote = True
        columns = self._manifest.row_key.template.columns
        encoded = encode_keys(self._manifest.row_key, self._manifest.types, batch)
        dirty = [dirty_row(batch, row, reason, columns) for row, reason in sorted(encoded.refused.items())]
        keys = encoded.values
        if encoded.refused:
            kept = pa.array(np.delete(np.arange(batch.num_rows), list(encoded.refused)), pa.int64())
            batch, keys = batch.take(kept), keys.take(kept)
        rows = batch.num_rows
        if not ascending(keys):
            order = pa.array(sorted_order(keys), pa.int64())
            batch, keys = batch.take(order), keys.take(order)
        size = 0
        for first, end in _regions(keys, self._bounds):
            written, refused = self._write_region(batch.slice(first, end - first))
            size += written
            dirty += refused
        return Loaded(rows - (len(dirty) - len(encoded.refused)), size, tuple(dirty))

    def _write_region(self, batch: pa.RecordBatch) -> tuple[int, list[DirtyRow]]:
        assert self._staging is not None, "open() comes first"
        files = _Files(self._staging, self._manifest)
        dirty: list[DirtyRow] = []
        try:
            for start in range(0, batch.num_rows, _PIECE_ROWS):
                dirty += files.append(batch.slice(start, _PIECE_ROWS))
        finally:
            size = files.close()
        return size, dirty


class _Files:
    """One file a family, as long as rows for it come."""

    def __init__(self, staging: Staging, manifest: Manifest) -> None:
        self._staging, self._manifest = staging, manifest
        self._open: dict[str, _File] = {}

    def append(self, batch: pa.RecordBatch) -> list[DirtyRow]:
        manifest = self._manifest
        rows, dirty = encode_rows(manifest, batch)
        if not len(rows):
            return dirty
        for family in manifest.families:
            places = [n for n, place in enumerate(manifest.places) if place.family == family]
            columns = [Column(manifest.places[n].qualifier, rows.columns[n]) for n in places]
            marker = rows.empty() if family == manifest.families[0] else None
            found = FamilyRows(rows.keys, family.encode(), columns, manifest.stamp_ms, marker)
            if found.cells:
                self._file(family).writer.append(found)
        return dirty

    def close(self) -> int:
        """The bytes of the files, which are whole from here on."""
        size = 0
        for family, file in self._open.items():
            with file.stream:
                file.writer.close()
            self._staging.finish(family, file.name)
            size += file.writer.position
        return size

    def _file(self, family: str) -> _File:
        if family not in self._open:
            name = uuid.uuid4().hex
            stream = self._staging.create(family, name)
            self._open[family] = _File(name, stream, HFileWriter(stream.write, round(time.time() * 1000)))
        return self._open[family]


@dataclass(frozen=True)
class _File:
    name: str
    stream: Any
    writer: HFileWriter


def _regions(keys: pa.LargeBinaryArray, bounds: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """The parts of sorted keys that lie between bounds, empty ones left out."""
    first = 0
    for bound in bounds:
        end = bisect_left(range(len(keys)), bound, lo=first, key=lambda row: keys[row].as_py())
        if end > first:
            yield first, end
        first = end
    if first < len(keys):
        yield first, len(keys)
