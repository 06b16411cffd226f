"""Between Arrow arrays and numpy: the few ways in which this package crosses over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Arrow's type stubs know neither that compute functions take plain Python values nor what numpy arrays become.
ArrowArray: TypeAlias = Any
pc: Any = pyarrow.compute
Ints: TypeAlias = "NDArray[np.int64]"
Flags: TypeAlias = "NDArray[np.bool_]"
Bytes: TypeAlias = "NDArray[np.uint8]"


def to_arrow_array(values: Ints | Flags, nulls: Flags | None = None) -> ArrowArray:
    """A numpy array as an Arrow array."""
    untyped: Any = values
    return pa.array(untyped, mask=nulls)


def to_flags(booleans: ArrowArray) -> Flags:
    """A boolean Arrow array without nulls as numpy."""
    return np.asarray(booleans.to_numpy(zero_copy_only=False), dtype=np.bool_)


def to_buffer(values: NDArray[Any]) -> pa.Buffer:
    """The memory of a numpy array as a buffer, without a copy."""
    untyped: Any = values
    return pa.py_buffer(untyped)


def text_bounds(texts: ArrowArray) -> tuple[Ints, Bytes]:
    """Where the texts of a string or binary array start and end (one more number than texts), and the bytes."""
    _, offsets, data = texts.buffers()
    if not len(texts) or data is None:
        return np.zeros(len(texts) + 1, np.int64), np.zeros(0, np.uint8)
    bounds = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return bounds.astype(np.int64), np.frombuffer(data, np.uint8)


def one_chunk(column: Any) -> ArrowArray:
    """A table's column as one array."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
