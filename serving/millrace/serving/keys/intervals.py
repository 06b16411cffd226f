"""A table of intervals in an Arrow file that all processes of a machine map into memory: one copy, and no parsing.

Rows are sorted by their interval's first key. Beside them stands how far any interval up to here reaches, so that the
search for an interval that holds a key ends as soon as none can: with intervals inside each other, the one that begins
last is found.
"""

from __future__ import annotations

import bisect
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.connectors.wire.arrow_types import to_arrow
from millrace.spec.types import Column, DataType, Kind

_REACH = "__reach"
_COUNTED: Mapping[Kind, pa.DataType] = {
    Kind.TINYINT: pa.int8(),
    Kind.SMALLINT: pa.int16(),
    Kind.INT: pa.int32(),
    Kind.BIGINT: pa.int64(),
}
_MAX = 1 << 63


def schema_of(columns: Sequence[Column]) -> pa.Schema:
    """The Arrow schema of rows of these columns."""
    return pa.schema([(column.name, to_arrow(column.type)) for column in columns])


def write_table(rows: pa.Table, start: str, end: str, file: Path) -> int:
    """Write a table's file, whole or not at all; how many intervals it has. Rows with a null at either end are none."""
    whole = rows.filter(pc.and_(pc.is_valid(rows[start]), pc.is_valid(rows[end])))
    ordered = whole.sort_by([(start, "ascending"), (end, "descending")])
    ordered = ordered.append_column(_REACH, _reach(ordered[end]))
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    with pa.OSFile(str(draft), "wb") as sink, pa.ipc.new_file(sink, ordered.schema) as writer:
        for batch in ordered.combine_chunks().to_batches():
            writer.write_batch(batch)
    draft.replace(file)
    return ordered.num_rows


def _reach(ends: pa.ChunkedArray[Any]) -> pa.Array[Any]:
    """The running maximum."""
    if pa.types.is_integer(ends.type):
        running = np.maximum.accumulate(ends.to_numpy()) if len(ends) else np.array([], dtype=np.int64)
        counted: pa.Array[Any] = pa.array(running, type=ends.type)
        return counted
    highest: list[Any] = []
    for value in ends.to_pylist():
        highest.append(value if not highest or value > highest[-1] else highest[-1])
    found: pa.Array[Any] = pa.array(highest, type=ends.type)
    return found


class IntervalTable:
    """A written table. Opening maps its file; a search touches a few pages of it. Usable from several threads."""

    def __init__(self, file: Path, version: str, columns: Sequence[Column], start: str, end: str) -> None:
        self.version = version
        mapped = pa.memory_map(str(file), "rb")
        batches = [
            reader.get_batch(i) for reader in [pa.ipc.open_file(mapped)] for i in range(reader.num_record_batches)
        ]
        self._rows = batches[0] if batches else None
        self._names = [column.name for column in columns]
        types = {column.name: column.type for column in columns}
        if self._rows is not None:
            self._position = _search(self._rows[start], types[start])
            self._ends, self._reaches = _at(self._rows[end], types[end]), _at(self._rows[_REACH], types[end])

    def __len__(self) -> int:
        return 0 if self._rows is None else self._rows.num_rows

    def find(self, key: Any) -> dict[str, Any] | None:
        """The row whose interval holds a key, of the ends' type; of several, the one that begins last."""
        if self._rows is None:
            return None
        place = self._position(key)
        while place >= 0 and self._reaches(place) >= key:
            if self._ends(place) >= key:
                row = self._rows.slice(place, 1)
                return {name: row[name][0].as_py() for name in self._names}
            place -= 1
        return None


def _search(starts: pa.Array[Any], type_: DataType) -> Callable[[Any], int]:
    """The last place whose start is not above a key; -1 when all are."""
    if type_.kind in _COUNTED:
        numbers = starts.to_numpy(zero_copy_only=True)
        low, high = np.iinfo(numbers.dtype).min, np.iinfo(numbers.dtype).max

        def position(key: int) -> int:
            if key < low:
                return -1
            wanted = numbers.dtype.type(min(key, high))
            return int(np.searchsorted(numbers, wanted, side="right")) - 1

        return position
    values = _Values(starts)
    return lambda key: bisect.bisect_right(values, key) - 1


def _at(values: pa.Array[Any], type_: DataType) -> Callable[[int], Any]:
    if type_.kind in _COUNTED:
        numbers = values.to_numpy(zero_copy_only=True)
        return lambda place: int(numbers[place])
    return lambda place: values[place].as_py()


class _Values(Sequence[Any]):
    """An Arrow array as bisect wants it: values are made when they are looked at."""

    def __init__(self, array: pa.Array[Any]) -> None:
        self._array = array

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, place: Any) -> Any:
        return self._array[place].as_py()
