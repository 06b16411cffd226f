"""Protobuf values from Arrow batches, on one core: by column, against the `protobuf` package row by row.

    python -m benchmarks.protobuf_encode [--rows 200000]

The reference gets dates and times as the integers that are written, so it converts nothing but decimals; both sides
must give messages that the package reads as equal. `.nested` has an array, a map and a struct a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from google.protobuf import message_factory
from google.protobuf.descriptor_pool import DescriptorPool

from benchmarks.harness import pin_to_one_core, print_measure, rows_argument, side_by_side
from millrace.connectors.base import Field
from millrace.connectors.wire import protobuf
from millrace.connectors.wire.arrow_types import to_arrow
from millrace.connectors.wire.protobuf_schema import PACKAGE, descriptor_of, message_of
from millrace.spec.types import column

BATCH_ROWS = 10_000  # what Spark sends at a time
_arrow: Any = pa  # its type stubs don't take numpy arrays

Columns = Mapping[str, tuple[str, Any]]
Make = Callable[..., Any]


def main() -> None:
    rows = rows_argument(__doc__, 200_000)
    pin_to_one_core()
    random = np.random.default_rng(1)
    _measure("protobuf_encode", rows, _flat(rows, random))
    _measure("protobuf_encode.nested", rows, _nested(rows, random))


def _measure(name: str, rows: int, columns: Columns) -> None:
    fields = [Field(column(name, type_), number) for number, (name, (type_, _)) in enumerate(columns.items(), 1)]
    arrays = [array.cast(to_arrow(f.column.type)) for f, (_, array) in zip(fields, columns.values(), strict=True)]
    batches = pa.table(arrays, names=list(columns)).to_batches(max_chunksize=BATCH_ROWS)
    plain = pa.table([array for _, array in columns.values()], names=list(columns)).to_batches(BATCH_ROWS)
    make = _message_class(fields)
    decimals = [f.name for f in fields if str(f.column.type).startswith("decimal")]

    def ours() -> list[Any]:
        return [protobuf.encode(batch, fields).values for batch in batches]

    def reference() -> list[list[bytes]]:
        return [_by_row(batch, make, decimals) for batch in plain]

    _check(name, make, [data for values in ours() for data in values.to_pylist()], reference())
    seconds = side_by_side(ours, reference)
    print_measure(name, rows / seconds.ours, rows / seconds.reference, "rows/s")


def _by_row(batch: pa.RecordBatch, make: Make, decimals: Sequence[str]) -> list[bytes]:
    found = []
    for row in batch.to_pylist(maps_as_pydicts="strict"):
        for name in decimals:
            if row[name] is not None:
                row[name] = str(row[name])
        found.append(make(**row).SerializeToString())
    return found


def _message_class(fields: Sequence[Field]) -> Make:
    message = message_of("row", fields)
    pool: Any = DescriptorPool()
    pool.Add(descriptor_of(message, "row.proto"))
    found: Make = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{message.name}"))
    return found


def _check(name: str, make: Make, ours: Sequence[bytes], reference: Sequence[Sequence[bytes]]) -> None:
    parse = getattr(make, "FromString")  # noqa: B009  # a class that was made at run time has no declared attributes
    theirs = [data for batch in reference for data in batch]
    if [parse(data) for data in ours] != [parse(data) for data in theirs]:
        raise AssertionError(f"{name}: the two sides do not give the same messages")


def _flat(rows: int, random: np.random.Generator) -> Columns:
    cents = _arrow.array(random.integers(-(10**9), 10**9, rows)).cast(pa.decimal128(38, 0))
    texts = [f"user {number} of the mill" for number in random.integers(0, 10**7, rows).tolist()]
    city = ["hangzhou", "beijing", "shanghai", "utrecht"]
    return {
        "id": ("bigint", _arrow.array(random.integers(0, 2**40, rows))),
        "name": ("string", _arrow.array(texts)),
        "city": ("string", _arrow.array(city).take(_arrow.array(random.integers(0, len(city), rows)))),
        "age": ("int", _arrow.array(random.integers(0, 100, rows, np.int32), mask=random.random(rows) < 0.05)),
        "balance": ("decimal(38,0)", cents),
        "score": ("double", _arrow.array(random.random(rows))),
        "active": ("boolean", _arrow.array(random.random(rows) < 0.5)),
        "updated_at": ("timestamp", _arrow.array(random.integers(2**50, 2**51, rows))),
    }


def _nested(rows: int, random: np.random.Generator) -> Columns:
    ids = random.integers(1, 10**6, (rows, 3)).tolist()
    counts = [[("clicks", clicks), ("views", views)] for clicks, views, _ in ids]
    return {
        "id": ("bigint", _arrow.array(random.integers(0, 2**40, rows))),
        "recent": ("array<bigint>", _arrow.array(ids)),
        "counts": (
            "map<string,int>",
            _arrow.array(counts, pa.map_(pa.string(), pa.int32())),
        ),
        "place": (
            "struct<lat:double,lon:double>",
            _arrow.StructArray.from_arrays([_arrow.array(random.random(rows)) for _ in range(2)], ["lat", "lon"]),
        ),
    }


if __name__ == "__main__":
    main()
