"""`read: new`: every line once over many runs, whatever becomes of the files in between."""

from __future__ import annotations

import gzip
import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from millrace.connectors.base import PlanRequest, SourcePlan, Window
from millrace.connectors.files import FileInfo, local_file
from millrace.connectors.log.manifest import Manifest, news
from millrace.connectors.log.options import Compression, LogOptions
from millrace.connectors.log.source import LogSource
from millrace.connectors.log.texts import LocalText
from millrace.errors import SourceError
from millrace.jobs.gate import GateServer, StepLimits
from millrace.jobs.spark_errors import translate

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DAY_US = 86_400_000_000
WHOLE_LINES: Mapping[str, Any] = {"format": "regex", "pattern": "(?P<line>.*)", "allow_empty": True}
_mounts = itertools.count()


@dataclass
class Runs:
    """Runs over one folder, each from the watermark that the last one has published."""

    spark: SparkSession
    path: str
    options: Mapping[str, Any] = field(default_factory=lambda: WHOLE_LINES)
    watermark: Mapping[str, Any] | None = None

    @property
    def source(self) -> LogSource:
        return LogSource(LogOptions.model_validate({"path": self.path, "read": "new", **self.options}), None)

    def plan(self) -> SourcePlan:
        return self.source.plan(PlanRequest(2, Window(), self.watermark, lambda: self.spark))

    def read(self, plan: SourcePlan) -> list[str]:
        with GateServer() as gate:
            found = self.source.read(self.spark, plan, gate.open_step("read", StepLimits()))
            try:
                return sorted(row[0] for row in found.frame.collect())
            except Exception as error:
                raise translate(error, "reading") from error

    def run(self) -> list[str]:
        plan = self.plan()
        lines = self.read(plan)
        self.watermark = plan.watermark
        return lines


@pytest.fixture(params=["local", "hadoop"])
def runs(request: pytest.FixtureRequest, spark: SparkSession, tmp_path: Path) -> Runs:
    """The same folder on a local disk, and through a file system that only Hadoop knows."""
    if request.param == "local":
        return Runs(spark, f"{tmp_path}/*.log*")
    context: Any = spark.sparkContext
    table = f"grow{next(_mounts)}"  # Hadoop keeps a file system that it has opened, with the mounts of that time
    context._jsc.hadoopConfiguration().set(f"fs.viewfs.mounttable.{table}.link./logs", f"file://{tmp_path}")
    return Runs(spark, f"viewfs://{table}/logs/*.log*")


def lines(*numbers: int) -> str:
    return "".join(f"{n:05d} a line of some length\n" for n in numbers)


def texts(*numbers: int) -> list[str]:
    return lines(*numbers).splitlines()


def test_a_growing_file_gives_each_line_once_and_an_unfinished_line_waits(runs: Runs, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text(lines(1, 2) + "00003 unfin")
    assert runs.run() == texts(1, 2)
    with log.open("a") as file:
        file.write("ished\n" + lines(4))
    assert runs.run() == ["00003 unfinished", *texts(4)]
    assert runs.run() == []
    with log.open("a") as file:
        file.write("the end")
    assert runs.run() == []
    assert runs.run() == ["the end"]  # it has stood still since the last run
    assert runs.run() == []


def test_a_rotated_file_is_taken_up_under_its_new_name_and_the_new_one_from_its_start(
    runs: Runs, tmp_path: Path
) -> None:
    log = tmp_path / "a.log"
    log.write_text(lines(1, 2))
    assert runs.run() == texts(1, 2)
    with log.open("a") as file:
        file.write(lines(3))
    log.rename(tmp_path / "a.log.1")
    log.write_text(lines(4, 5, 6))
    assert runs.run() == texts(3, 4, 5, 6)
    (tmp_path / "a.log.1").rename(tmp_path / "a.log.2")
    log.rename(tmp_path / "a.log.1")
    log.write_text(lines(7))
    assert runs.run() == texts(7)


def test_a_file_that_was_compressed_after_its_rotation_is_not_read_twice(runs: Runs, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text(lines(*range(100)))
    assert len(runs.run()) == 100
    (tmp_path / "a.log.1.gz").write_bytes(gzip.compress(lines(*range(103)).encode()))
    log.write_text(lines(200))
    assert runs.run() == texts(100, 101, 102, 200)
    (tmp_path / "a.log.1.gz").rename(tmp_path / "a.log.2.gz")
    assert runs.run() == []


def test_a_truncated_file_is_read_from_its_start_and_its_copy_from_where_it_was_left(
    runs: Runs, tmp_path: Path
) -> None:
    log = tmp_path / "a.log"
    log.write_text(lines(1, 2))
    assert runs.run() == texts(1, 2)
    (tmp_path / "a.log.1").write_text(lines(1, 2, 3))  # copytruncate
    with log.open("r+") as file:
        file.truncate()
        file.write(lines(4, 5, 6))  # and longer already than what was taken
    assert runs.run() == texts(3, 4, 5, 6)


def test_a_file_that_has_vanished_is_no_error_and_remembered_when_it_comes_back(runs: Runs, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text(lines(1))
    assert runs.run() == texts(1)
    log.rename(tmp_path / "hidden")
    assert runs.run() == []
    (tmp_path / "hidden").rename(log)
    assert runs.run() == []


def test_a_plan_reads_the_same_lines_again_though_the_file_has_grown(runs: Runs, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text(lines(1))
    runs.run()
    with log.open("a") as file:
        file.write(lines(2))
    plan = runs.plan()
    assert runs.read(plan) == texts(2)
    with log.open("a") as file:
        file.write(lines(3))
    assert runs.read(plan) == texts(2)
    runs.watermark = plan.watermark
    assert runs.run() == texts(3)


def test_a_file_that_is_rotated_between_plan_and_read_is_found_by_its_inode(
    spark: SparkSession, tmp_path: Path
) -> None:
    runs = Runs(spark, f"{tmp_path}/*.log*")
    (tmp_path / "a.log").write_text(lines(1))
    plan = runs.plan()
    (tmp_path / "a.log").rename(tmp_path / "a.log.1")
    (tmp_path / "a.log").write_text(lines(2))
    assert runs.read(plan) == texts(1)
    (tmp_path / "a.log.1").unlink()
    with pytest.raises(SourceError, match="is another file than the one"):
        runs.read(plan)


def test_a_header_is_no_row_of_a_file_that_has_grown(spark: SparkSession, tmp_path: Path) -> None:
    runs = Runs(spark, f"{tmp_path}/*.csv", {"format": "csv", "header": True})
    (tmp_path / "a.csv").write_text("id\n1\n")
    assert runs.run() == ["1"]
    with (tmp_path / "a.csv").open("a") as file:
        file.write("2\n")
    (tmp_path / "b.csv").write_text("id\n3\n")
    assert runs.run() == ["2", "3"]


def test_a_file_that_was_replaced_by_one_with_the_same_start_is_read_from_its_start(
    spark: SparkSession, tmp_path: Path
) -> None:
    runs = Runs(spark, f"{tmp_path}/*.csv", {"format": "csv", "header": True})
    header = ",".join(f"a_column_with_a_long_name_{i}" for i in range(100)) + "\n"
    row = ",".join(["{}"] * 100) + "\n"
    (tmp_path / "a.csv").write_text(header + row.format(*range(100)))
    assert runs.run() == ["0"]
    (tmp_path / "new").write_text(header + row.format(*range(500, 600)))
    (tmp_path / "new").replace(tmp_path / "a.csv")
    assert runs.run() == ["500"]


def known(folder: Path, names: Sequence[str], before: Manifest, now_us: int) -> Manifest:
    def text(file: FileInfo) -> LocalText:
        return LocalText(file, Compression.NONE)

    return news(before, [local_file(str(folder / name)) for name in names], text, now_us).manifest


def test_files_that_are_gone_are_forgotten_after_a_month(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(lines(ord(name)))
    first = known(tmp_path, ["a", "b"], Manifest(), 0)
    assert Manifest.from_json(first.to_json()) == first
    kept = known(tmp_path, ["b"], first, 29 * DAY_US)
    assert {os.path.basename(e.path) for e in kept.entries} == {"a", "b"}
    assert {os.path.basename(e.path) for e in known(tmp_path, ["b"], kept, 31 * DAY_US).entries} == {"b"}
