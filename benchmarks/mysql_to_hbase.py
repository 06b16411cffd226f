"""Loads into HBase on this machine: by Thrift, by files, and the encoding of files alone.

    python -m benchmarks.mysql_to_hbase [--rows 1000000]

Rows have a key and five short columns. `.thrift` is one task's loader against happybase batches, both over a tenth of
the rows; `.bulk` the whole load step (table, tasks, files, taking over) against the Java client's BufferedMutator;
`.hfile` the encoding and writing of one file on one core against HBase's own StoreFileWriter, both with Bloom filters
and from values in memory. The Java sides are compiled from benchmarks/java and timed inside their JVM.
"""

from __future__ import annotations

import importlib
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.harness import print_measure, rows_argument, timed
from millrace.connectors.base import Field, Version
from millrace.connectors.channel import run_channel
from millrace.connectors.hbase.load import HBaseTarget
from millrace.connectors.hbase.options import HBaseOptions
from millrace.connectors.wire import hfile
from millrace.connectors.wire.arrow_types import columns_of
from millrace.connectors.wire.columns import binary_cells
from millrace.jobs.jvm import java
from millrace.jobs.launch import end_jvm
from millrace.jobs.session import SessionHolder
from millrace.spec.connection import parse_url
from millrace.spec.settings import Settings
from tests.servers.hbase import JARS, HBase

COLUMNS = 5
PIECE_ROWS = 1 << 15
BATCH_ROWS = 1000


class _NoGate:
    def admit(self, rows: int, size: int) -> None:
        """There is no budget."""

    def done(self, rows: int, size: int, dirty: Any = (), waited: float = 0.0) -> None:
        """Nobody watches."""


def main() -> None:
    rows = rows_argument(__doc__, 1_000_000)
    table = _rows(rows)
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder, HBase(heap_mib=1536) as server:
        place = Path(folder)
        classes = _compile(place)
        _measure_hfile(table, place, classes, server)
        _measure_thrift(table.slice(0, rows // 10), server)
        _measure_bulk(table, place, classes, server)


def _measure_hfile(table: pa.Table, folder: Path, classes: str, server: HBase) -> None:
    ours = min(timed(lambda: _write_hfile(table, folder / "ours")) for _ in range(2))
    command = ["taskset", "-c", "0", *_java(classes, server), "hfile", str(folder / "theirs"), str(table.num_rows)]
    theirs = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])
    print_measure("mysql_to_hbase.hfile", table.num_rows / ours, table.num_rows / theirs, "rows/s")


def _write_hfile(table: pa.Table, path: Path) -> None:
    with path.open("wb") as file:
        writer = hfile.HFileWriter(file.write, 1)
        for batch in table.to_batches(max_chunksize=PIECE_ROWS):
            keys = binary_cells(batch.column(0)).values
            columns = [
                hfile.Column(name.encode(), binary_cells(batch.column(place)))
                for place, name in enumerate(batch.schema.names)
                if place
            ]
            values = sum(int(column.cells.lengths.sum()) for column in columns)
            encoded = hfile.encode_rows(keys, b"p", columns, 1)
            writer.append(encoded, keys, COLUMNS * len(keys), values)
        writer.close()


def _measure_thrift(table: pa.Table, server: HBase) -> None:
    target, version = _target(server.url, "by_thrift", table, "thrift")
    target.prepare(version)
    loader = target.loader(version)
    batches = table.to_batches(max_chunksize=PIECE_ROWS)
    run_channel(batches, loader, _NoGate())  # a server that has just started is slow for whoever comes first
    ours = timed(lambda: run_channel(batches, loader, _NoGate()))
    happybase: Any = importlib.import_module("happybase")
    connection = happybase.Connection("127.0.0.1", server.thrift.port)
    connection.create_table("by_happybase", {"p": {"max_versions": 1, "bloom_filter_type": "ROW"}})
    rows = [
        (row["id"].encode(), {f"p:{name}".encode(): row[name].encode() for name in table.schema.names})
        for row in table.to_pylist()
    ]

    def put() -> None:
        with connection.table("by_happybase").batch(batch_size=BATCH_ROWS) as batch:
            for key, cells in rows:
                batch.put(key, cells)

    theirs = timed(put)
    connection.close()
    target.close()
    print_measure("mysql_to_hbase.thrift", table.num_rows / ours, table.num_rows / theirs, "rows/s")


def _measure_bulk(table: pa.Table, folder: Path, classes: str, server: HBase) -> None:
    stage = folder / "stage"
    stage.mkdir()
    half = table.num_rows // 2
    for part, start in enumerate((0, half)):
        pq.write_table(table.slice(start, half), stage / f"{part}.parquet", compression="zstd")
    target, version = _target(server.bulk_url, "by_files", table, "bulk")
    session = SessionHolder(Settings.from_env({"MILLRACE_HOME": str(folder)}))
    try:
        frame = session.get().read.parquet(str(stage))
        ours = timed(lambda: _load(frame, target, version))
        assert target.count(version) == 2 * half
    finally:
        session.stop()
        end_jvm()
        target.close()
    target._tables.create("making the other side's table", "by_mutator", ["p"])
    command = [*_java(classes, server), "mutator", "by_mutator", str(table.num_rows)]
    theirs = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])
    target.close()
    print_measure("mysql_to_hbase.bulk", table.num_rows / ours, table.num_rows / theirs, "rows/s")


def _load(frame: Any, target: HBaseTarget, version: Version) -> None:
    target.prepare(version)
    loader = target.loader(version)

    def work(batches: Any) -> Any:
        totals = run_channel(batches, loader, _NoGate())
        yield pa.RecordBatch.from_pydict({"rows": pa.array([totals.rows], pa.int64())})

    frame.mapInArrow(work, "rows bigint").collect()
    target.seal(version)


def _target(url: str, asset: str, table: pa.Table, load: str) -> tuple[HBaseTarget, Version]:
    options = {"connection": "bench", "table": asset, "row_key": "{id}", "family": "p", "load": load}
    fields = tuple(Field(column, number) for number, column in enumerate(columns_of(table.schema), start=1))
    target = HBaseTarget(HBaseOptions.model_validate(options), parse_url("bench", url, "the benchmark"))
    return target, Version(asset, "v1", fields)


def _rows(rows: int) -> pa.Table:
    columns = {f"c{place}": [f"value {row} {place}" for row in range(rows)] for place in range(COLUMNS)}
    return pa.table({"id": [f"k{row:09d}" for row in range(rows)], **columns})


def _compile(folder: Path) -> str:
    source = Path(__file__).parent / "java" / "HBaseReference.java"
    javac = java().resolve().parent / "javac"
    subprocess.run([str(javac), "-cp", f"{JARS}/*", "-d", str(folder), str(source)], check=True)
    return str(folder)


def _java(classes: str, server: HBase) -> list[str]:
    return [str(java()), "-Xmx3g", "-cp", f"{classes}:{server.conf}:{JARS}/*", "HBaseReference"]


if __name__ == "__main__":
    main()
