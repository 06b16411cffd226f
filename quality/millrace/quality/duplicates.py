"""Rows that share a key: counted by grouping, never by a window, which would sort whole rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as f

from millrace.quality.samples import MAX_ROWS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_N = "millrace_n"
_WIDE = frozenset({"string", "binary"})
_HASHABLE = _WIDE | {"boolean", "tinyint", "smallint", "int", "bigint", "date", "timestamp", "timestamp_ntz"}


@dataclass(frozen=True)
class Duplicates:
    """Rows that were looked at, and those of them whose key another row has too."""

    rows: int
    repeated: int


def count_duplicates(frame: DataFrame, columns: Sequence[str]) -> Duplicates:
    """Count the rows whose values in `columns` another row has too; nulls are equal to each other.

    Wide keys are first grouped by a 64-bit hash, which moves eight bytes a row: equal keys have equal hashes, so when
    no hash is repeated no key is. Otherwise the keys themselves are counted.
    """
    keys = [f.col(name) for name in columns]
    if _worth_hashing(frame, columns):
        found = _grouped(frame.select(f.xxhash64(*keys).alias("hash")), ["hash"])
        if not found.repeated:
            return found
    return _grouped(frame, columns)


def repeated_rows(frame: DataFrame, columns: Sequence[str]) -> DataFrame:
    """Whole rows of some keys that are repeated, rows of one key beside each other: at most MAX_ROWS."""
    plain = {f"millrace_key_{number}": name for number, name in enumerate(columns)}
    keys = [f.col(name).alias(alias) for alias, name in plain.items()]
    repeated = frame.groupBy(*keys).agg(f.count(f.lit(1)).alias(_N)).filter(f.col(_N) > 1).limit(MAX_ROWS // 2)
    same = [f.col(name).eqNullSafe(f.col(alias)) for alias, name in plain.items()]
    rows = frame.join(f.broadcast(repeated.drop(_N)), on=same, how="left_semi").limit(MAX_ROWS)
    return rows.orderBy(*[f.col(name) for name in columns])


def _grouped(frame: DataFrame, columns: Sequence[str]) -> Duplicates:
    groups = frame.groupBy(*[f.col(name) for name in columns]).agg(f.count(f.lit(1)).alias(_N))
    repeated = f.sum(f.when(f.col(_N) > 1, f.col(_N)))
    counted = groups.agg(f.sum(_N).alias("rows"), repeated.alias("repeated")).collect()[0]
    return Duplicates(int(counted["rows"] or 0), int(counted["repeated"] or 0))


def _worth_hashing(frame: DataFrame, columns: Sequence[str]) -> bool:
    """Floats are left out: 0.0 and -0.0 are one value of several forms. A lone short key is as quick by itself."""
    types = {field.dataType.simpleString() for field in frame.select(*[f.col(c) for c in columns]).schema.fields}
    return types <= _HASHABLE and (len(columns) > 1 or bool(types & _WIDE))
