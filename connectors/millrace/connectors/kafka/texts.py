"""Bytes as texts, where some may not be."""

from __future__ import annotations

import pyarrow as pa

from millrace.connectors.log.arrays import ArrowArray


def decoded(values: ArrowArray) -> tuple[ArrowArray, list[int]]:
    """A binary array as UTF-8 texts; the rows that aren't are found by halving, and are empty then."""
    try:
        return values.cast(pa.string()), []
    except pa.ArrowInvalid:
        if len(values) == 1:
            return pa.array([""]), [0]
    half = len(values) // 2
    first, bad_in_first = decoded(values.slice(0, half))
    second, bad_in_second = decoded(values.slice(half))
    return pa.concat_arrays([first, second]), bad_in_first + [half + row for row in bad_in_second]
