"""A row of an Arrow batch as a dirty record, whatever is in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from millrace.connectors.base import MAX_RAW_BYTES, DirtyRow

if TYPE_CHECKING:
    import pyarrow as pa

_SHOWN_CHARACTERS = 100


def dirty_row(batch: pa.RecordBatch, row: int, reason: str, key_columns: Sequence[str]) -> DirtyRow:
    """A row set aside, by its key. Its raw bytes are JSON: long values cut, what JSON lacks as Python shows it."""
    values = {name: _shown(column[row]) for name, column in zip(batch.schema.names, batch.columns, strict=True)}
    raw = json.dumps(values, ensure_ascii=False, default=str).encode("utf-8", "replace")
    origin = ", ".join(f"{name}={str(values.get(name))[:_SHOWN_CHARACTERS]}" for name in key_columns)
    return DirtyRow(reason, origin, raw[:MAX_RAW_BYTES])


def _shown(cell: pa.Scalar[Any]) -> Any:
    """The cell as Python has it; if Python can't (a year 20000, text that isn't UTF-8), what Arrow stores for it."""
    import pyarrow as pa

    readings = (lambda: cell, lambda: cell.cast(pa.int64()), lambda: cell.cast(pa.int32()), lambda: _bytes_of(cell))
    for read in readings:
        try:
            value = read().as_py()
        except (ValueError, OverflowError, pa.ArrowException):
            continue
        return value[:MAX_RAW_BYTES] if isinstance(value, str | bytes) else value
    return f"a {cell.type} that can't be shown"


def _bytes_of(cell: pa.Scalar[Any]) -> pa.Scalar[Any]:
    import pyarrow as pa

    return cell.cast(pa.large_binary())
