"""Arrow batches into the embedded ClickHouse: through the loader and the local server, against chdb alone.

    python -m benchmarks.clickhouse_insert [--rows 2000000]

`.one_channel` is one task's loader, `.channels` as many as there are cores, each in a process of its own, all through
one server over HTTP; the reference is chdb in this process, which reads the same rows from Arrow files, one insert each
(`INSERT … FROM INFILE`), one after the other or one thread a file. `.read` is all rows back as Arrow, against chdb's
own stream of batches.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import chdb
import numpy as np
import pyarrow as pa

from benchmarks.harness import print_measure, rows_argument, side_by_side
from millrace.connectors.base import Field, Version
from millrace.connectors.clickhouse import layout
from millrace.connectors.clickhouse.encode import arrow_stream
from millrace.connectors.clickhouse.link import Link
from millrace.connectors.clickhouse.load import ClickHouseTarget
from millrace.connectors.clickhouse.loader import INSERT_ROWS
from millrace.connectors.clickhouse.options import ClickHouseOptions
from millrace.connectors.wire.arrow_types import columns_of
from tests.servers.clickhouse import ClickHouseDatabase, ClickHouseServer

BATCH_ROWS = 32_768  # what Spark sends at a time
ROUNDS = 5
OPTIONS = ClickHouseOptions(connection="bench", order_by=("id",), low_cardinality=("city",))


def main() -> None:
    rows = rows_argument(__doc__, 2_000_000)
    table = _rows(rows)
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as name, ClickHouseServer() as server:
        database = server.clickhouse.new_database()
        alone = Alone(Path(name), table)
        for measure, channels in (("one_channel", 1), ("channels", os.cpu_count() or 1)):
            seconds = side_by_side(partial(_load, database, table, channels), partial(alone.load, channels), ROUNDS)
            print_measure(f"clickhouse_insert.{measure}", rows / seconds.ours, rows / seconds.reference, "rows/s")
        seconds = side_by_side(lambda: _read(database, rows), lambda: alone.read(rows), ROUNDS)
        print_measure("clickhouse_insert.read", rows / seconds.ours, rows / seconds.reference, "rows/s")
        alone.close()


class Alone:
    """chdb in this process, with the rows in Arrow files of as many rows as the loader sends in one insert."""

    def __init__(self, folder: Path, table: pa.Table) -> None:
        native: Any = chdb._chdb
        self._folder, self._path = folder, str(folder / "alone")
        shutil.rmtree(self._path, ignore_errors=True)
        self._connect = native.connect
        self._keeper = native.connect(self._path)
        self._version = _version(table)
        self._keeper.query("CREATE DATABASE alone ENGINE = Atomic")
        self._files = []
        for start in range(0, table.num_rows, INSERT_ROWS):
            file = folder / f"{start}.arrow"
            (batch,) = table.slice(start, INSERT_ROWS).combine_chunks().to_batches()
            file.write_bytes(arrow_stream(batch, compressed=False))
            self._files.append(file)

    def load(self, threads: int) -> None:
        place = layout.Place("alone", "t", "t", "v1")
        self._keeper.query(f"DROP TABLE IF EXISTS {place.sql(place.table)} SYNC")
        self._keeper.query(layout.create_table(place, self._version.columns, OPTIONS))
        workers = [threading.Thread(target=self._insert, args=(place, self._files[n::threads])) for n in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    def read(self, rows: int) -> None:
        stream = self._keeper.send_query("SELECT * FROM alone.t__v1", "Arrow")
        found = 0
        while (block := self._keeper.streaming_fetch_result(stream)) is not None and block.rows_read():
            found += pa.ipc.open_file(pa.py_buffer(block.bytes())).read_all().num_rows
        assert found == rows

    def close(self) -> None:
        self._keeper.close()

    def _insert(self, place: layout.Place, files: Sequence[Path]) -> None:
        link = self._connect(self._path)
        for file in files:
            link.query(f"INSERT INTO {place.sql(place.table)} FROM INFILE '{file}' FORMAT ArrowStream")
        link.close()


def _load(database: ClickHouseDatabase, table: pa.Table, channels: int) -> None:
    target = ClickHouseTarget(OPTIONS, database.connection)
    version = _version(table)
    target.prepare(version)
    share = -(-table.num_rows // channels)
    parts = [(database, version, table.slice(start, share)) for start in range(0, table.num_rows, share)]
    if channels == 1:
        _load_part(*parts[0])
    else:
        fork = multiprocessing.get_context("fork")
        workers = [fork.Process(target=_load_part, args=part) for part in parts]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    target.seal(version)
    assert target.count(version) == table.num_rows
    target.close()


def _load_part(database: ClickHouseDatabase, version: Version, part: pa.Table) -> None:
    loader = ClickHouseTarget(OPTIONS, database.connection).loader(version)
    loader.open()
    for batch in part.to_batches(BATCH_ROWS):
        loader.load(batch)
    loader.finish()
    loader.close()


def _read(database: ClickHouseDatabase, rows: int) -> None:
    link = Link(ClickHouseTarget(OPTIONS, database.connection)._endpoint)
    assert link.table("reading", "SELECT * FROM bench__v1").num_rows == rows
    link.close()


def _version(table: pa.Table) -> Version:
    return Version("bench", "v1", tuple(Field(c, n) for n, c in enumerate(columns_of(table.schema), start=1)))


def _rows(rows: int) -> pa.Table:
    numbers = np.arange(rows, dtype=np.int64)
    chance = np.random.default_rng(1)
    return pa.table(
        {
            "id": pa.array(numbers),
            "age": pa.array(chance.integers(0, 100, rows).astype(np.int32)),
            "name": pa.array([f"person {n}" for n in range(rows)]),
            "ratio": pa.array(chance.random(rows)),
            "at": pa.array(numbers * 1_000_000, pa.timestamp("us", tz="UTC")),
            "city": pa.array([f"city {n % 50}" for n in range(rows)]),
        }
    )


if __name__ == "__main__":
    main()
