"""A stage that the source's own tasks write holds each of their rows once, and reads as one that Spark has written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession

from millrace.connectors.wire.arrow_types import columns_of
from millrace.jobs import stage_writer
from millrace.jobs.batches import map_batches
from millrace.jobs.plan import columns_of as columns_of_frame
from millrace.jobs.stage_writer import StageTask, drafts_of, write_by_tasks
from millrace.jobs.staged import keep_schema, staged_frame, staged_rows
from millrace.jobs.storage import LocalStorage
from millrace.jobs.transform import only_columns
from millrace.spec.model import Rename, Select, Where
from tests.jobs.test_staged import ALL_TYPES, DESCRIBED, Place, described

NUMBERS = pa.schema([("id", pa.int64())])


def numbers(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """What a source's task would make of the numbers that it is given."""
    for batch in batches:
        yield batch.slice(0, 0)
        yield batch


def four(spark: SparkSession) -> DataFrame:
    return spark.range(0, 1000, 1, 4)


def ids(stage: Path) -> list[int]:
    return sorted(number for number in pq.read_table(stage)["id"].to_pylist() if number is not None)


@dataclass(frozen=True)
class Raced(StageTask):
    """A task that was run before, and whose first answer got lost on its way: as of a copy that another one outran."""

    def __call__(self, given: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        batches = list(given)
        assert len(list(super().__call__(iter(batches)))) == 1
        yield from super().__call__(iter(batches))


def test_a_task_that_ran_twice_leaves_its_rows_once(spark: SparkSession, tmp_path: Path) -> None:
    stage = tmp_path / "stage"
    written = write_by_tasks(four(spark), Raced(numbers, [0], NUMBERS, drafts_of(stage)), stage)
    assert (written.rows, len(written.attempts)) == (1000, 4)
    assert ids(stage) == list(range(1000))
    assert len(list(stage.iterdir())) == 4


def test_a_stage_that_is_written_again_has_nothing_of_the_one_before(spark: SparkSession, tmp_path: Path) -> None:
    stage = tmp_path / "stage"
    write_by_tasks(four(spark), StageTask(numbers, [0], NUMBERS, drafts_of(stage)), stage)
    write_by_tasks(spark.range(7), StageTask(numbers, [0], NUMBERS, drafts_of(stage)), stage)
    assert ids(stage) == list(range(7))


def test_a_task_that_fails_leaves_no_file(spark: SparkSession, tmp_path: Path) -> None:
    def failing(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield batch
            if batch.column(0)[0].as_py():
                raise OSError("the source has gone")

    stage = tmp_path / "stage"
    with pytest.raises(Exception, match="the source has gone"):
        write_by_tasks(four(spark), StageTask(failing, [0], NUMBERS, drafts_of(stage)), stage)
    assert list(stage.iterdir()) == []


def test_a_straggler_of_an_earlier_try_finds_no_place_for_its_draft(spark: SparkSession, tmp_path: Path) -> None:
    stage = tmp_path / "stage"
    late = StageTask(numbers, [0], NUMBERS, drafts_of(stage))
    write_by_tasks(spark.range(7), StageTask(numbers, [0], NUMBERS, drafts_of(stage)), stage)
    with pytest.raises(FileNotFoundError):
        list(late(iter([pa.record_batch({"id": [1]})])))
    assert ids(stage) == list(range(7))


def test_rows_of_every_type_are_read_as_if_spark_had_written_them(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage_writer, "_GROUP_BYTES", 1)
    place = Place(spark, LocalStorage(tmp_path))
    frame = spark.sql(f"{ALL_TYPES} UNION ALL {ALL_TYPES}")
    rows = frame.toArrow()
    assert columns_of(rows.schema) == columns_of_frame(frame.schema)
    by_tasks = place.storage.path("a", "other run", "stage")
    task = StageTask(
        lambda _: iter(rows.to_batches(2)), range(rows.num_columns), rows.schema, drafts_of(Path(by_tasks))
    )
    write_by_tasks(spark.range(0, 1, 1, 1), task, Path(by_tasks))
    keep_schema(place.storage, by_tasks, frame.schema)
    expected = _read_both_ways(place, place.write(frame))
    assert expected[0] == expected[1]
    assert _read_both_ways(place, by_tasks) == expected


def test_a_source_without_rows_has_a_stage_that_says_its_columns(spark: SparkSession, tmp_path: Path) -> None:
    stage = tmp_path / "stage"
    written = write_by_tasks(four(spark), StageTask(lambda _: iter(()), [0], NUMBERS, drafts_of(stage)), stage)
    assert written.rows == 0
    (file,) = stage.iterdir()
    assert pq.read_table(file).schema.remove_metadata() == NUMBERS


def test_only_steps_that_choose_and_name_columns_leave_them_as_they_are() -> None:
    names = ["id", "name", "age"]
    swapped = Rename({"id": "name", "name": "id"})
    assert only_columns(names, []) == {"id": "id", "name": "name", "age": "age"}
    assert only_columns(names, [Select(("name", "id")), swapped]) == {"id": "name", "name": "id"}
    assert only_columns(names, [swapped, Select(("id",))]) == {"id": "name"}
    assert only_columns(names, [Select(("ID",))]) is None
    assert only_columns(names, [Select(("id",)), Where("id > 1")]) is None


def _read_both_ways(place: Place, stage: str) -> list[list[dict[str, str]]]:
    frame = staged_frame(place, stage).coalesce(1)
    by_spark = [row.asDict() for row in map_batches(frame, described, DESCRIBED).collect()]
    return [by_spark, [dict(row) for row in staged_rows(place, stage, channels=1).through(described, DESCRIBED)]]
