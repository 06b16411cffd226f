"""Rows that share a key, counted without a window and in as little as the key allows.

Measured on 3 M rows, in seconds of CPU: bitmaps 1.8; short keys, or hashes, grouped after a shuffle 2.5 to 3.5; grouped
as Spark does by itself, which first builds a hash table in each task that saves nothing, 3 (integers) to 11 (SHA-256 in
hex); Great Expectations' window 2.4 to 5.1, and it moves and sorts the keys themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as f

from millrace.quality.samples import MAX_ROWS

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_N = "millrace_n"
_KEY = "millrace_key_{}"
_INTEGRAL = frozenset({"tinyint", "smallint", "int", "bigint"})
_WHOLE = re.compile(r"decimal\(\d+,0\)")  # as MySQL's unsigned bigint comes
_WIDE = frozenset({"string", "binary"})
_HASHABLE = _WIDE | _INTEGRAL | {"boolean", "date", "timestamp", "timestamp_ntz"}
#: Each task may write a bitmap of the whole range: bits in all tasks together, per row, up to which that is the less.
_MAX_BITS_PER_ROW = 64


#: Of a column the number of its values, nulls not among them, when it can be shown cheaply that no two are equal.
Proof = Callable[[str], int | None]


@dataclass(frozen=True)
class Duplicates:
    """Rows that were looked at, and those of them whose key another row has too."""

    rows: int
    repeated: int


def count_duplicates(frame: DataFrame, columns: Sequence[str]) -> Duplicates:
    """Count the rows whose values in `columns` another row has too; nulls are equal to each other.

    First something cheap is tried that can only prove that all keys differ: bitmaps for whole numbers that lie close
    together, and 64-bit hashes for wide keys, where equal keys have equal hashes. Without that proof keys are counted.
    """
    types = {field.dataType.simpleString() for field in frame.select(*[f.col(c) for c in columns]).schema.fields}
    if all(name in _INTEGRAL or _WHOLE.fullmatch(name) for name in types) and len(columns) == 1:
        return _all_different_integers(frame, columns[0]) or _grouped(frame, columns)
    if types <= _HASHABLE and (len(columns) > 1 or types & _WIDE):  # floats differ in form: 0.0 is -0.0
        hashes = _grouped(frame.select(f.xxhash64(*[f.col(c) for c in columns]).alias("hash")), ["hash"])
        return hashes if not hashes.repeated else _grouped(frame, columns)
    return _grouped(frame, columns)


def repeated_rows(frame: DataFrame, columns: Sequence[str]) -> DataFrame:
    """Whole rows of some keys that are repeated, rows of one key beside each other: at most MAX_ROWS."""
    plain = {_KEY.format(number): name for number, name in enumerate(columns)}
    keys = [f.col(name).alias(alias) for alias, name in plain.items()]
    repeated = frame.groupBy(*keys).agg(f.count(f.lit(1)).alias(_N)).filter(f.col(_N) > 1).limit(MAX_ROWS // 2)
    same = [f.col(name).eqNullSafe(f.col(alias)) for alias, name in plain.items()]
    rows = frame.join(f.broadcast(repeated.drop(_N)), on=same, how="left_semi").limit(MAX_ROWS)
    return rows.orderBy(*[f.col(name) for name in columns])


def is_repeated(columns: Sequence[str]) -> Column:
    """Of each row, whether another one has the same values in `columns`; not of rows where they all are null."""
    from pyspark.sql.window import Window

    keys = [f.col(name) for name in columns]
    return f.coalesce(*[f.when(key.isNotNull(), f.lit(True)) for key in keys]) & (
        f.count(f.lit(1)).over(Window.partitionBy(*keys)) > 1
    )


def _all_different_integers(frame: DataFrame, column: str) -> Duplicates | None:
    """The count when no value without nulls is repeated and bitmaps can show it; None otherwise."""
    value = f.col(column).try_cast("bigint")
    least, most, fitting, rows = frame.agg(f.min(value), f.max(value), f.count(value), f.count(column)).collect()[0]
    if not rows:
        return Duplicates(0, 0)
    if fitting < rows:
        return None
    spread = most - least + 1
    if spread < rows or spread * frame.rdd.getNumPartitions() > _MAX_BITS_PER_ROW * rows:
        return None
    offset = value - f.lit(least)
    bits = f.bitmap_construct_agg(f.bitmap_bit_position(offset)).alias("bits")
    bitmaps = frame.groupBy(f.bitmap_bucket_number(offset)).agg(bits)
    different = bitmaps.agg(f.sum(f.bitmap_count("bits"))).collect()[0][0]
    return Duplicates(rows, 0) if different == rows else None


def _grouped(frame: DataFrame, columns: Sequence[str]) -> Duplicates:
    """Shuffled before it is grouped, so that Spark groups once: most keys are expected to differ."""
    plain = {_KEY.format(number): f.col(name) for number, name in enumerate(columns)}
    keys = frame.select(*[column.alias(alias) for alias, column in plain.items()])
    groups = keys.repartition(*plain).groupBy(*plain).agg(f.count(f.lit(1)).alias(_N))
    repeated = f.sum(f.when(f.col(_N) > 1, f.col(_N)))
    counted = groups.agg(f.sum(_N).alias("rows"), repeated.alias("repeated")).collect()[0]
    return Duplicates(int(counted["rows"] or 0), int(counted["repeated"] or 0))
