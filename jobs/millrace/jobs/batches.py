"""A function over a DataFrame's Arrow batches, whatever its columns are called."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType

Batches = Iterator["pa.RecordBatch"]


def map_batches(frame: DataFrame, function: Callable[[Batches], Batches], schema: StructType | str) -> DataFrame:
    """As `mapInArrow`, which takes a name with a dot or a backtick for an expression: such names go around it."""
    names = frame.columns
    if not any("." in name or "`" in name for name in names):
        return frame.mapInArrow(function, schema)

    def named(batches: Batches) -> Batches:
        return function(batch.rename_columns(names) for batch in batches)

    return frame.toDF(*(f"column_{number}" for number in range(len(names)))).mapInArrow(named, schema)
