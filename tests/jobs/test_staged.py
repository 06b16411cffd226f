"""A stage that is small is read without a Spark job, and its rows are those that a task would get."""

from __future__ import annotations

from ast import literal_eval
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession

from millrace.jobs import staged, staged_files
from millrace.jobs.batches import map_batches
from millrace.jobs.staged import keep_schema, staged_frame, staged_rows
from millrace.jobs.storage import LocalStorage, Storage

DESCRIBED = "schema string, rows string"
ALL_TYPES = """
SELECT CAST(id AS BIGINT) AS id, CAST(id % 2 AS BOOLEAN) AS gone, CAST(id AS TINYINT) AS tiny, CAST(id AS FLOAT) AS f,
  CAST(id AS DECIMAL(38, 10)) AS exact, IF(id = 1, NULL, concat('ü', id)) AS `a.text`, CAST('x' AS BINARY) AS raw,
  make_date(1, 1, 1) AS day, timestamp_micros(id * 1000001 - 5000000000000) AS at,
  CAST('1905-02-03 04:05:06.000007' AS TIMESTAMP_NTZ) AS wall, array(id, NULL) AS many,
  named_struct('x', id, 'y', array('a', NULL)) AS deep, map('k', id) AS pairs
FROM range(5)
"""


@dataclass(frozen=True)
class Place:
    """A work directory with a session to read it."""

    session: SparkSession
    storage: Storage

    def spark(self) -> SparkSession:
        return self.session

    def write(self, frame: DataFrame) -> str:
        path = self.storage.path("a", "run", "stage")
        frame.write.mode("overwrite").parquet(path)
        keep_schema(self.storage, path, frame.schema)
        return path


@pytest.fixture
def place(spark: SparkSession, tmp_path: Path) -> Place:
    return Place(spark, LocalStorage(tmp_path))


def test_rows_of_every_type_are_those_that_a_task_gets(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = place.write(place.spark().sql(ALL_TYPES))
    by_spark = map_batches(staged_frame(place, stage).coalesce(1), described, DESCRIBED).collect()
    for small_rows in (staged.SMALL_ROWS, 0):  # in this process, and in a task
        monkeypatch.setattr(staged, "SMALL_ROWS", small_rows)
        assert staged_rows(place, stage, channels=1).through(described, DESCRIBED) == [r.asDict() for r in by_spark]


def test_deleted_rows_and_key_columns_are_told_apart_either_way(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = place.write(place.spark().sql("SELECT id, IF(id < 2, NULL, id < 5) AS gone FROM range(9)"))
    for small_rows in (staged.SMALL_ROWS, 0):
        monkeypatch.setattr(staged, "SMALL_ROWS", small_rows)
        kept, gone = staged_rows(place, stage).split("gone")
        assert (kept.count(), gone.count()) == (6, 3)
        assert gone.select(["id"]).through(described, DESCRIBED)[0]["schema"] == "id: int64"


def test_a_stage_without_a_schema_beside_it_is_read_all_the_same(place: Place) -> None:
    stage = place.storage.path("a", "run", "stage")
    place.spark().range(3).write.parquet(stage)
    assert staged_rows(place, stage).count() == 3


def test_channels_share_the_files_and_read_each_row_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = place.write(place.spark().range(0, 1000, 1, 5))
    monkeypatch.setattr(staged, "SMALL_ROWS", 0)
    found = staged_rows(place, stage, channels=3).through(described, DESCRIBED)
    assert len(found) == 3
    assert sorted(row["id"] for part in found for row in literal_eval(part["rows"])) == list(range(1000))


def test_batches_of_long_values_are_small(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = place.write(
        place.spark().sql("SELECT id, concat(id, repeat('long ', 2000)) AS text FROM range(0, 50, 1, 1)")
    )
    monkeypatch.setattr(staged_files, "BATCH_BYTES", 100_000)
    sizes = [batch.num_rows for batch in _batches(place, stage)]
    assert sum(sizes) == 50
    assert max(sizes) <= 10


def test_an_empty_stage_has_no_rows(place: Place) -> None:
    stage = place.write(place.spark().range(3).filter("id > 7"))
    assert staged_rows(place, stage).count() == 0


def _batches(place: Place, stage: str) -> list[pa.RecordBatch]:
    found: list[pa.RecordBatch] = []

    def keep(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        found.extend(batches)
        yield from ()

    staged_rows(place, stage).through(keep, DESCRIBED)
    return found


def described(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    table = pa.Table.from_batches(list(batches))
    lines = [f"{field.name}: {field.type}" for field in table.schema]
    rows = repr(sorted(table.to_pylist(), key=repr))
    yield pa.RecordBatch.from_pydict({"schema": ["\n".join(lines)], "rows": [rows]})
