"""A lake as a source, on Spark: folders by partition in every format, what is new, what can't be read."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.orc
import pyarrow.parquet as pq
import pytest

from millrace.connectors.base import DirtyRow, PlanRequest, SourcePlan, Window
from millrace.connectors.files import FileInfo
from millrace.connectors.lake.news import news
from millrace.connectors.lake.options import LakeOptions
from millrace.connectors.lake.partitions import base_of, partition_columns, values_of
from millrace.connectors.lake.source import LakeSource, partition_condition
from millrace.errors import SourceError
from millrace.spec.types import column
from tests.connectors.reads import kept_plan, read_plan

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DAY_US = 86_400_000_000
_mounts = itertools.count()


@dataclass
class Lake:
    """One folder, and the runs over it."""

    spark: SparkSession
    folder: Path
    path: str
    watermark: Mapping[str, Any] | None = None

    def source(self, **options: Any) -> LakeSource:
        return LakeSource(LakeOptions.model_validate({"path": self.path, **options}), None)

    def plan(self, **options: Any) -> SourcePlan:
        return kept_plan(self.source(**options), PlanRequest(2, Window(), self.watermark, lambda: self.spark))

    def read(self, plan: SourcePlan, **options: Any) -> tuple[list[tuple[Any, ...]], Sequence[DirtyRow]]:
        found = read_plan(self.source(**options), self.spark, plan)
        return sorted((tuple(row.values()) for row in found.rows), key=repr), found.dirty

    def rows(self, **options: Any) -> list[tuple[Any, ...]]:
        return self.read(self.plan(**options), **options)[0]

    def run(self) -> list[tuple[Any, ...]]:
        """One run of what is new, published."""
        plan = self.plan(read="new", columns=["id"])
        rows, _ = self.read(plan, read="new", columns=["id"])
        self.watermark = plan.watermark
        return rows

    def write(self, name: str, *ids: int, **more: Any) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        table = pa.table({"id": pa.array(ids, pa.int64()), "name": [f"n{i}" for i in ids], **more})
        (pq.write_table if name.endswith("parquet") else pyarrow.orc.write_table)(table, str(path))
        return path


@pytest.fixture(params=["local", "hadoop"])
def lake(request: pytest.FixtureRequest, spark: SparkSession, tmp_path: Path) -> Lake:
    """The same folder on a local disk, and through a file system that only Hadoop knows."""
    if request.param == "local":
        return Lake(spark, tmp_path, str(tmp_path))
    context: Any = spark.sparkContext
    table = f"lake{next(_mounts)}"
    context._jsc.hadoopConfiguration().set(f"fs.viewfs.mounttable.{table}.link./plays", f"file://{tmp_path}")
    return Lake(spark, tmp_path, f"viewfs://{table}/plays")


def test_partitions_are_columns_and_only_wanted_ones_are_listed_and_read(lake: Lake) -> None:
    for day, country, ids in (("01", "de", (1, 2)), ("01", "no", (3,)), ("02", "de", (4,)), ("02", "a%20b", (5,))):
        lake.write(f"dt=2024-05-{day}/country={country}/part-0.parquet", *ids)
    lake.write("_temporary/0/part.parquet", 99)
    (lake.folder / "dt=2024-05-01/_SUCCESS").touch()
    plan = lake.plan()
    assert [str(c) for c in plan.columns] == ["id bigint", "name string", "dt date", "country string"]
    rows, _ = lake.read(plan)
    assert rows[0] == (1, "n1", date(2024, 5, 1), "de")
    assert rows[4] == (5, "n5", date(2024, 5, 2), "a b")
    wanted = {"partitions": {"dt": "2024-05-01", "country": "de"}}
    assert len(lake.plan(**wanted).splits) == 1
    assert [row[0] for row in lake.rows(**wanted)] == [1, 2]
    where = {"where": "dt > '2024-05-01' AND (country = 'de' OR country = 'a b') AND id < 5"}
    assert len(lake.plan(**where).splits) == 2
    assert "2 more are in partitions that `where` leaves out" in lake.plan(**where).notes[-1]
    assert [row[0] for row in lake.rows(**where)] == [4]
    inside = replace(lake, path=f"{lake.path}/dt=2024-05-02")
    assert [row[2] for row in inside.rows()] == [date(2024, 5, 2)] * 2
    with pytest.raises(SourceError, match=r"`partitions` has 'day', and the folders below .* are by dt, country"):
        lake.plan(partitions={"day": "2024-05-01"})


def test_every_format_gives_its_rows_and_older_files_null_for_newer_columns(lake: Lake) -> None:
    lake.write("a.orc", 1, 2)
    assert lake.rows(format="orc") == [(1, "n1"), (2, "n2")]
    (lake.folder / "a.orc").unlink()
    lake.write("a.parquet", 1)
    lake.write("b.parquet", 2, city=["Oslo"])
    assert lake.rows() == [(1, "n1", None), (2, "n2", "Oslo")]
    assert lake.rows(columns=["city", "id"]) == [("Oslo", 2), (None, 1)]
    if lake.path.startswith("/"):
        assert lake.plan().estimated_rows == 2
    with pytest.raises(SourceError, match=r"`columns` has 'cty', which the lake .* did you mean 'city'"):
        lake.plan(columns=["cty"])


def test_rows_of_csv_files_that_dont_fit_are_set_aside(lake: Lake) -> None:
    (lake.folder / "dt=1").mkdir()
    (lake.folder / "dt=1/a.csv").write_text('id;name\n1;"a;b"\nx;y\n3\n4;d\n')
    options = {"format": "csv", "delimiter": ";", "schema": {"id": "int", "name": "string"}}
    rows, dirty = lake.read(lake.plan(**options), **options)
    assert rows == [(1, "a;b", 1), (4, "d", 1)]
    assert [d.raw for d in dirty] == [b"x;y", b"3"] or [d.raw for d in dirty] == [b"3", b"x;y"]
    assert all(d.origin.endswith("dt=1/a.csv") for d in dirty)
    where = {**options, "where": "id > 1"}
    assert lake.rows(**where) == [(4, "d", 1)]


def test_what_is_new_is_read_once_and_a_file_written_anew_again(lake: Lake) -> None:
    lake.write("dt=1/a.parquet", 1)
    lake.write("dt=1/b.parquet", 2)
    assert lake.run() == [(1,), (2,)]
    assert lake.run() == []
    lake.write("dt=2/a.parquet", 3)
    lake.write("dt=1/b.parquet", 4, 5)
    assert lake.run() == [(3,), (4,), (5,)]
    (lake.folder / "dt=1/b.parquet").unlink()
    assert lake.run() == []


def test_a_plan_is_frozen_a_file_that_changes_stops_the_run(lake: Lake) -> None:
    file = lake.write("a.parquet", 1)
    plan = lake.plan()
    lake.write("b.parquet", 2)
    assert lake.read(plan)[0] == [(1, "n1")]
    lake.write("a.parquet", 1, 2, 3)
    with pytest.raises(SourceError, match="has changed since the run was planned"):
        lake.read(plan)
    file.unlink()
    with pytest.raises(SourceError, match=r"can't be looked at|does not exist"):
        lake.read(plan)


def test_nothing_to_read_is_an_error_unless_it_is_allowed(spark: SparkSession, tmp_path: Path) -> None:
    lake = Lake(spark, tmp_path, f"{tmp_path}/nowhere")
    with pytest.raises(SourceError, match="no file below"):
        lake.plan()
    csv = {"format": "csv", "schema": {"id": "int"}, "allow_empty": True}
    assert lake.rows(**csv) == []
    with pytest.raises(SourceError, match="there is no file to tell the columns"):
        lake.plan(allow_empty=True)
    lake.folder = tmp_path / "nowhere"
    lake.write("a=1/x.parquet", 1)
    lake.write("b=1/x.parquet", 1)
    with pytest.raises(SourceError, match="the files have different partition columns: a and b"):
        lake.plan()


def test_partition_columns_have_the_types_that_spark_gives_them() -> None:
    found = partition_columns([values_of(f"/x/i={i}/d=2024-01-0{i}/s={i}x/b={10**i}/f") for i in (1, 9)])
    assert found == tuple(itertools.starmap(column, (("i", "int"), ("d", "date"), ("s", "string"), ("b", "int"))))
    assert partition_columns([values_of("/b=99999999999/f")]) == (column("b", "bigint"),)
    assert values_of("s3a://b/t/dt=__HIVE_DEFAULT_PARTITION__/c=a%2Fb/f") == (("dt", None), ("c", "a/b"))
    assert base_of("s3a://b/t/dt=1/c=2/f") == "s3a://b/t"


def test_what_a_condition_says_of_partitions_alone_is_found() -> None:
    names = {"dt", "country"}
    assert partition_condition("dt = '1' AND id > 3 AND country IN ('a')", names) == "(dt = '1') AND (country IN ('a'))"
    assert partition_condition("dt = '1' OR id > 3", names) == ""
    assert partition_condition("id > 3", names) == ""


def test_files_that_are_gone_are_forgotten_after_a_month() -> None:
    a, b = FileInfo("a", 1, 1), FileInfo("b", 1, 1)
    first = news(None, [a, b], 0)
    later = news(first.watermark, [b], 29 * DAY_US)
    assert later.files == ()
    assert set(later.watermark["files"]) == {"a", "b"}
    assert set(news(later.watermark, [b], 31 * DAY_US).watermark["files"]) == {"b"}
