"""Log files as a source, on Spark: the plan's files and nothing else, every line passed on or set aside."""

from __future__ import annotations

import gzip
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
import zstandard

from benchmarks.data import access_log
from millrace.connectors.base import PlanRequest, SourcePlan, Window
from millrace.connectors.log.options import LogOptions
from millrace.connectors.log.source import LogSource
from millrace.errors import SourceError
from millrace.jobs.gate import GateServer, StepLimits
from tests.connectors.reads import Read, kept_plan, read_plan

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def no_spark() -> NoReturn:
    raise AssertionError("a plan of local files needs no Spark")


def source(path: object, **options: Any) -> LogSource:
    paths = [str(p) for p in path] if isinstance(path, list) else str(path)
    return LogSource(LogOptions.model_validate({"path": paths, **options}), None)


def plan(of: LogSource, spark: SparkSession | None = None) -> SourcePlan:
    return kept_plan(of, PlanRequest(2, Window(), None, (lambda: spark) if spark else no_spark))


def read(of: LogSource, spark: SparkSession, planned: SourcePlan | None = None) -> Read:
    return read_plan(of, spark, planned or plan(of, spark))


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same 3,000 lines, 1 in 50 bad, plain and compressed."""
    folder = tmp_path_factory.mktemp("logs")
    access_log(folder / "a.log", 3_000, seed=3, odd=0.05, bad=0.02)
    text = (folder / "a.log").read_bytes()
    (folder / "a.log.gz").write_bytes(gzip.compress(text))
    (folder / "a.log.zst").write_bytes(zstandard.ZstdCompressor().compress(text))
    return folder


@pytest.fixture(scope="module")
def viewfs(spark: SparkSession, logs: Path) -> Iterator[str]:
    """The same folder through a file system that only Hadoop knows."""
    context: Any = spark.sparkContext
    name = "fs.viewfs.mounttable.lab.link./logs"
    context._jsc.hadoopConfiguration().set(name, f"file://{logs}")
    yield "viewfs://lab/logs"
    context._jsc.hadoopConfiguration().unset(name)


def test_every_line_is_passed_on_or_set_aside_whatever_the_file_system_and_compression(
    spark: SparkSession, logs: Path, viewfs: str
) -> None:
    plain = read(source(logs / "a.log"), spark)
    assert len(plain.rows) + len(plain.dirty) == 3_000
    assert plain.counted == len(plain.rows)
    assert plain.size == (logs / "a.log").stat().st_size
    assert 30 < len(plain.dirty) < 100
    text = (logs / "a.log").read_bytes()
    for dirty in plain.dirty:
        byte = int(dirty.origin.split(", byte ")[1].split(" ")[0])
        assert text[byte:].split(b"\n")[0] == dirty.raw
    ordered = sorted(plain.rows, key=repr)
    for path in (logs / "a.log.gz", logs / "a.log.zst", *(f"{viewfs}/a.log{ending}" for ending in ("", ".gz", ".zst"))):
        other = read(source(path), spark)
        assert sorted(other.rows, key=repr) == ordered
        assert sorted((d.reason, d.raw) for d in other.dirty) == sorted((d.reason, d.raw) for d in plain.dirty)
        assert {d.origin.partition(", byte ")[2] for d in other.dirty} == {
            d.origin.partition(", byte ")[2] for d in plain.dirty
        }


def test_a_large_file_is_read_in_parts_by_several_tasks(spark: SparkSession, tmp_path: Path) -> None:
    access_log(tmp_path / "big.log", 100_000, seed=4)
    planned = plan(source(tmp_path / "big.log"))
    assert len(planned.splits) > 2
    assert planned.estimated_rows == pytest.approx(100_000, rel=0.02)
    assert planned.estimated_bytes == (tmp_path / "big.log").stat().st_size
    assert read(source(tmp_path / "big.log"), spark, planned).counted == 100_000


def test_a_split_inside_a_hadoop_file_says_from_where_its_lines_are_counted(
    spark: SparkSession, logs: Path, viewfs: str
) -> None:
    spark.conf.set("spark.sql.files.maxPartitionBytes", "64k")
    try:
        found = read(source(f"{viewfs}/a.log"), spark)
    finally:
        spark.conf.unset("spark.sql.files.maxPartitionBytes")
    assert found.counted + len(found.dirty) == 3_000
    inside = [d for d in found.dirty if "of the split at byte" in d.origin]
    assert inside
    lines = (logs / "a.log").read_bytes()
    for dirty in inside:
        number, start = (int(n) for n in dirty.origin.split(", line ")[1].split(" of the split at byte "))
        assert lines[lines.index(b"\n", start - 1) + 1 :].split(b"\n")[number - 1] == dirty.raw


def test_json_csv_and_regex_files_are_read_with_their_types(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"id": 1, "tags": ["x"]}\r\n{"id": "one"}\n\n{"id": 2}')
    found = read(source(tmp_path / "a.json", format="json", fields={"id": "int", "tags": "array<string>"}), spark)
    assert found.rows == [{"id": 1, "tags": ["x"]}, {"id": 2, "tags": None}]
    assert [d.origin for d in found.dirty] == [f"{tmp_path}/a.json, byte 26 (line 2)"]
    (tmp_path / "a.csv").write_bytes(b'\xef\xbb\xbfname;n\n"a;b";1\nx;y\n')
    found = read(
        source(tmp_path / "a.csv", format="csv", header=True, delimiter=";", fields={"n": "int", "name": {}}), spark
    )
    assert (found.rows, [d.raw for d in found.dirty]) == ([{"n": 1, "name": "a;b"}], [b"x;y"])
    (tmp_path / "a.txt").write_text("INFO 12\nWARN x\n")
    regex = {"format": "regex", "pattern": r"(?P<level>\w+) (?P<n>.*)", "fields": {"n": "tinyint"}}
    found = read(source(tmp_path / "a.txt", **regex), spark)
    assert (found.rows, [d.raw for d in found.dirty]) == ([{"level": "INFO", "n": 12}], [b"WARN x"])


def test_every_type_comes_through_spark_as_it_was_parsed(spark: SparkSession, tmp_path: Path) -> None:
    fields = {
        "b": "boolean",
        "t": "tinyint",
        "s": "smallint",
        "f": "float",
        "d": "decimal(20,3)",
        "x": "binary",
        "day": "date",
        "at": "timestamp",
        "wall": "timestamp_ntz",
        "o": "struct<a:array<bigint>>",
    }
    line = (
        '{"b": true, "t": -1, "s": 300, "f": 1.5, "d": 1.125, "x": "raw", "day": "2024-02-29",'
        ' "at": "2024-01-01T00:00:00.5Z", "wall": "2024-01-01T00:00:00.5", "o": {"a": [1, null]}}\n{}\n'
    )
    (tmp_path / "a.json").write_text(line)
    of = source(tmp_path / "a.json", format="json", fields=fields)
    planned = plan(of)
    with GateServer() as gate:
        frame = of.read(spark, planned, gate.open_step("read", StepLimits())).frame
        shown = frame.selectExpr(
            *(f"cast({name} as string)" for name in fields if name not in ("x", "o")), "hex(x)", "o.a[0]"
        )
        first, second = (tuple(row) for row in shown.collect())
    assert first == (
        "true",
        "-1",
        "300",
        "1.5",
        "1.125",
        "2024-02-29",
        "2024-01-01 00:00:00.5",
        "2024-01-01 00:00:00.5",
        "726177",
        1,
    )
    assert set(second) == {None}


def test_a_header_is_not_a_row_in_any_file_and_must_be_the_same_in_all(
    spark: SparkSession, tmp_path: Path, viewfs: str, logs: Path
) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("id,name\n1,x\n")
    of = source(tmp_path / "*.csv", format="csv", header=True)
    assert plan(of).columns[1].name == "name"
    assert read(of, spark).rows == [{"id": "1", "name": "x"}] * 2
    (logs / "h.csv").write_text("id,name\n1,x\n")
    assert read(source(f"{viewfs}/h.csv", format="csv", header=True), spark).rows == [{"id": "1", "name": "x"}]
    (tmp_path / "b.csv").write_text("name,id\n1,x\n")
    with pytest.raises(SourceError, match=r"b\.csv has the columns name, id; the run has planned id, name"):
        read(of, spark)
    with pytest.raises(SourceError, match=r"`fields` has 'nmae', not in the header .*, did you mean 'name'"):
        plan(source(tmp_path / "a.csv", format="csv", header=True, fields={"nmae": "string"}))


def test_a_file_that_changed_after_the_plan_stops_the_run(
    spark: SparkSession, tmp_path: Path, viewfs: str, logs: Path
) -> None:
    (tmp_path / "a.log").write_text("x\n")
    (logs / "changing.log").write_text("x\n")
    for of, path in (
        (source(tmp_path / "a.log"), tmp_path / "a.log"),
        (source(f"{viewfs}/changing.log"), logs / "changing.log"),
    ):
        planned = plan(of, spark)
        path.write_text("")
        with pytest.raises(SourceError, match="has 0 bytes instead of the 2"):
            read(of, spark, planned)
        path.unlink()
        with pytest.raises(SourceError, match=r"can't be looked at|File.* does not exist"):
            read(of, spark, planned)


def test_nothing_to_read_is_an_error_unless_it_is_allowed(spark: SparkSession, tmp_path: Path, viewfs: str) -> None:
    (tmp_path / "empty.log").touch()
    assert read(source(tmp_path / "empty.log"), spark).rows == []
    assert plan(source(tmp_path / "empty.log")).estimated_rows == 0
    for path in (tmp_path / "no*.log", f"{viewfs}/no*.log"):
        with pytest.raises(SourceError, match="no file matches"):
            plan(source(path), spark)
        found = read(source(path, allow_empty=True), spark)
        assert (found.rows, found.counted) == ([], 0)


def test_what_cannot_be_read_is_refused_when_it_is_planned(spark: SparkSession, tmp_path: Path, viewfs: str) -> None:
    (tmp_path / "a.log").write_text("x\n")
    (tmp_path / "b.log").write_bytes("x\n".encode("utf-16"))
    (tmp_path / "c.log.bz2").write_bytes(b"x")
    for of, words in (
        (source(tmp_path / "b.log"), "is written in UTF-16"),
        (source(tmp_path / "c.log.bz2"), "compressed in a form that can't be read"),
        (source([tmp_path / "a.log", f"{viewfs}/a.log"]), "on local disks and on other file systems"),
        (source(f"{viewfs}/a.log", compression="gzip"), "the file's ending tells"),
        (source("nosuchfs://host/x"), "No FileSystem for scheme"),
        (source(tmp_path / "empty.csv", format="csv", header=True, allow_empty=True), "none of .* has a header line"),
    ):
        with pytest.raises(SourceError, match=words):
            plan(of, spark)


def test_a_reading_travels_to_executors(tmp_path: Path) -> None:
    reading = source(tmp_path, format="json", fields={"a": {"type": "timestamp", "format": "epoch"}}).reading()
    assert pickle.loads(pickle.dumps(reading)) == reading
