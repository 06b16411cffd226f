"""Redis commands from Arrow batches, on one core: by column, against `to_pylist` and redis-py's own packing.

    python -m benchmarks.resp_encode [--rows 200000]

redis-py packs with hiredis when that is installed, as it is here: the reference is the faster of its two packers. Both
sides must give the same bytes. `resp_encode` is SET of values of about 105 bytes, `.hset` a hash of 5 fields a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from redis.connection import Connection

from benchmarks.harness import pin_to_one_core, print_measure, rows_argument, side_by_side
from millrace.connectors.wire import resp

BATCH_ROWS = 10_000  # what Spark sends at a time
FIELDS = 5

Batches = Sequence[pa.RecordBatch]
Command = tuple[bytes, ...]


def main() -> None:
    rows = rows_argument(__doc__, 200_000)
    pin_to_one_core()
    _measure("resp_encode", rows, _values(rows), _set, _set_by_row)
    _measure("resp_encode.hset", rows, _fields(rows), _hset, _hset_by_row)


def _measure(
    name: str,
    rows: int,
    batches: Batches,
    by_column: Callable[[pa.RecordBatch], resp.Commands],
    by_row: Callable[[dict[str, Any]], Command],
) -> None:
    make_connection: Any = Connection  # redis-py doesn't type it
    connection = make_connection()

    def reference() -> list[bytes]:
        return [_packed(connection, map(by_row, batch.to_pylist())) for batch in batches]

    def ours() -> list[memoryview]:
        return [by_column(batch).data for batch in batches]

    if ours() != reference():
        raise AssertionError(f"{name}: the two sides do not give the same bytes")
    seconds = side_by_side(ours, reference)
    print_measure(name, rows / seconds.ours, rows / seconds.reference, "rows/s")


def _packed(connection: Any, commands: Iterable[Command]) -> bytes:
    """A pipeline's bytes, as `Pipeline.execute` makes them."""
    return b"".join(connection.pack_commands(commands))


def _set(batch: pa.RecordBatch) -> resp.Commands:
    return resp.set_commands(batch.column("key"), batch.column("value"))


def _set_by_row(row: dict[str, Any]) -> Command:
    return (b"SET", row["key"], row["value"])


def _hset(batch: pa.RecordBatch) -> resp.Commands:
    names = batch.schema.names[1:]
    return resp.hset_commands(batch.column("key"), names, [batch.column(name) for name in names])


def _hset_by_row(row: dict[str, Any]) -> Command:
    pairs = ((name.encode(), cell) for name, cell in row.items() if name != "key" and cell is not None)
    return (b"HSET", row["key"], *(part for pair in pairs for part in pair))


def _values(rows: int) -> Batches:
    return _batches({"key": _keys(rows), "value": _texts(rows, 70, 140, seed=1)})


def _fields(rows: int) -> Batches:
    cells = {f"field_{place}": _texts(rows, 4, 20, seed=place, nulls=0.1 * (place > 0)) for place in range(FIELDS)}
    return _batches({"key": _keys(rows), **cells})


def _keys(rows: int) -> pa.Array[Any]:
    return pa.array([b"user_profile:v17:%d" % (number * 7919) for number in range(rows)], pa.binary())


def _texts(rows: int, least: int, most: int, seed: int, nulls: float = 0.0) -> pa.Array[Any]:
    random = np.random.default_rng(seed)
    sizes = random.integers(least, most, rows).tolist()
    missing = (random.random(rows) < nulls).tolist()
    letters = random.integers(0, 256, most * 2, np.uint8).tobytes()
    cells = [None if gone else letters[size : size * 2] for size, gone in zip(sizes, missing, strict=True)]
    return pa.array(cells, pa.binary())


def _batches(columns: dict[str, pa.Array[Any]]) -> Batches:
    return pa.table(columns).to_batches(max_chunksize=BATCH_ROWS)


if __name__ == "__main__":
    main()
