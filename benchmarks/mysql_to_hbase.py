"""MySQL → HBase on this machine: the load step by files, the loader by Thrift, and the encoding of files alone.

    python -m benchmarks.mysql_to_hbase [--rows 1000000]

Rows have a key and five short columns. `.bulk`: the load step of a whole run (make the table, read the stage, write
files, let HBase take them over) against the Java client's BufferedMutator, each after a turn of a tenth of the rows.
`.thrift`: one task's loader against happybase batches, both over a tenth of the rows. `.hfile`: encoding and writing
one file on one core against HBase's own StoreFileWriter, both with Bloom filters, from bytes in memory, the better of
two turns; `.hfile_uneven`: the same of texts whose lengths differ from row to row by up to 20 bytes. The Java sides
are compiled from benchmarks/java and timed inside their JVM.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.harness import print_measure, rows_argument, timed
from millrace.catalog import Catalog
from millrace.connectors.base import Field, Version
from millrace.connectors.channel import run_channel
from millrace.connectors.hbase.endpoint import endpoint_of
from millrace.connectors.hbase.load import HBaseTarget
from millrace.connectors.hbase.options import HBaseOptions
from millrace.connectors.hbase.tables import Tables
from millrace.connectors.staging import StagingFolder
from millrace.connectors.wire.arrow_types import columns_of
from millrace.connectors.wire.columns import binary_cells
from millrace.connectors.wire.hfile import HFileWriter
from millrace.connectors.wire.hfile_cells import Column, FamilyRows
from millrace.connectors.wire.rows import Cells
from millrace.jobs import runner
from millrace.jobs.jvm import java
from millrace.jobs.launch import end_jvm
from millrace.jobs.session import SessionHolder
from millrace.spec import parse_spec
from millrace.spec.connection import parse_url
from millrace.spec.settings import Settings
from tests.servers.hbase import JARS, HBase
from tests.servers.mariadb import MariaDb

COLUMNS = 5
PIECE_ROWS = 1 << 15
BATCH_ROWS = 1000
SPEC = """
version: 1
asset: {table}
source:
  mysql: {{connection: bench_mysql, table: {table}, split_by: number}}
transform:
  - select: [id, c0, c1, c2, c3, c4]
targets:
  - hbase: {{connection: bench_hbase, table: {table}, row_key: "{{id}}", family: p, load: bulk}}
limits: {{channels: {channels}}}
"""


class _NoGate:
    def admit(self, rows: int, size: int) -> None:
        """There is no budget."""

    def done(self, rows: int, size: int, dirty: Any = (), waited: float = 0.0) -> None:
        """Nobody watches."""


def main() -> None:
    rows = rows_argument(__doc__, 1_000_000)
    table = _rows(rows)
    with (
        tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder,
        HBase(heap_mib=1536, thrift_heap_mib=256, quick=False) as server,
    ):
        place = Path(folder)
        classes = _compile(place)
        _measure_hfile("hfile", table, place, classes, server)
        _measure_hfile("uneven", _uneven(rows), place, classes, server)
        _measure_thrift(table.slice(0, rows // 10), server)
        _measure_bulk(rows, place, classes, server)


def _measure_hfile(what: str, table: pa.Table, folder: Path, classes: str, server: HBase) -> None:
    columns = [binary_cells(column).values for column in table.columns]
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    ours = min(timed(partial(_write_hfile, columns, folder, what + name)) for name in ("ours", "again"))
    os.sched_setaffinity(0, cores)
    command = ["taskset", "-c", str(max(cores)), *_java(classes, server)]
    command += [what, str(folder / f"{what}.theirs"), str(table.num_rows)]
    theirs = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])
    name = "mysql_to_hbase.hfile" + ("_uneven" if what == "uneven" else "")
    print_measure(name, table.num_rows / ours, table.num_rows / theirs, "rows/s")


def _write_hfile(table: Sequence[pa.LargeBinaryArray], folder: Path, name: str) -> None:
    """As a task does it: to a stream of its own staging."""
    with StagingFolder(f"file://{folder}", "hfiles").create(name) as stream:
        writer = HFileWriter(stream.write, 1)
        for start in range(0, len(table[0]), PIECE_ROWS):
            keys, *values = (Cells(column.slice(start, PIECE_ROWS)) for column in table)
            columns = [Column(f"c{place}".encode(), cells) for place, cells in enumerate(values)]
            writer.append(FamilyRows(keys.values, b"p", columns, 1, None))
        writer.close()


def _measure_thrift(table: pa.Table, server: HBase) -> None:
    target, version = _target(server.url, table)
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


def _measure_bulk(rows: int, folder: Path, classes: str, server: HBase) -> None:
    with MariaDb() as mysql:
        database = mysql.new_database()
        for table, count in (("tenth", rows // 10), ("whole", rows)):
            columns = ", ".join(f"c{place} VARCHAR(20)" for place in range(COLUMNS))
            database.execute(f"CREATE TABLE {table} (number INT PRIMARY KEY, id CHAR(10), {columns})")
            database.execute(_fill(table, count))
        urls = {"MYSQL": database.url, "HBASE": server.bulk_url}
        os.environ |= {f"MILLRACE_CONNECTION_BENCH_{name}": url for name, url in urls.items()}
        ours = _load_s(folder)
    tables = Tables(endpoint_of(parse_url("bench", server.url, "the benchmark")))
    for name in ("by_mutator", "by_mutator_warm"):
        tables.create("making the other side's tables", name, ["p"])
    command = [*_java(classes, server), "mutator", "by_mutator", str(rows)]
    theirs = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])
    assert tables.count("counting the other side's rows", "by_mutator") == rows
    tables.close()
    print_measure("mysql_to_hbase.bulk", rows / ours, rows / theirs, "rows/s")


def _fill(table: str, rows: int) -> str:
    columns = ", ".join(f"CONCAT('value ', seq, ' {place}')" for place in range(COLUMNS))
    return f"INSERT INTO {table} SELECT seq, CONCAT('k', LPAD(seq, 9, '0')), {columns} FROM seq_0_to_{rows - 1}"


def _load_s(folder: Path) -> float:
    """Seconds that the load step of a run took, whose rows were then verified and published."""
    settings = Settings.from_env({"MILLRACE_HOME": str(folder)})
    session = SessionHolder(settings)
    try:
        with Catalog.open(settings.catalog_url) as catalog:
            for table in ("tenth", "whole"):
                spec = parse_spec(SPEC.format(table=table, channels=os.cpu_count()))
                report = runner.run(spec, settings, catalog, session)
                if report.error is not None:
                    raise report.error
    finally:
        session.stop()
        end_jvm()
    return report.statistics.targets["hbase"].seconds


def _target(url: str, table: pa.Table) -> tuple[HBaseTarget, Version]:
    options = {"connection": "bench", "table": "by_thrift", "row_key": "{id}", "family": "p", "load": "thrift"}
    fields = tuple(Field(column, number) for number, column in enumerate(columns_of(table.schema), start=1))
    target = HBaseTarget(HBaseOptions.model_validate(options), parse_url("bench", url, "the benchmark"))
    return target, Version("by_thrift", "v1", fields)


def _rows(rows: int) -> pa.Table:
    columns = {f"c{place}": [f"value {row} {place}" for row in range(rows)] for place in range(COLUMNS)}
    return pa.table({"id": [f"k{row:09d}" for row in range(rows)], **columns})


def _uneven(rows: int) -> pa.Table:
    """The same, each text with 0 to 20 more bytes, in no order."""
    table, join = _rows(rows), cast(Any, pc.binary_join_element_wise)
    for place in range(COLUMNS):
        scrambled = (np.arange(rows) * COLUMNS + place) * 2654435761 % (1 << 32) >> 11
        longer = pc.binary_repeat(pa.array(["x"] * rows), (scrambled % 21).tolist())
        table = table.set_column(place + 1, f"c{place}", join(table[f"c{place}"], longer, ""))
    return table


def _compile(folder: Path) -> str:
    source = Path(__file__).parent / "java" / "HBaseReference.java"
    javac = java().resolve().parent / "javac"
    subprocess.run([str(javac), "-cp", f"{JARS}/*", "-d", str(folder), str(source)], check=True)
    return str(folder)


def _java(classes: str, server: HBase) -> list[str]:
    return [str(java()), "-Xmx3g", "-cp", f"{classes}:{server.conf}:{JARS}/*", "HBaseReference"]


if __name__ == "__main__":
    main()
