"""A lake does what every source does."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from millrace.connectors.wire.arrow_types import schema_of
from millrace.spec.types import Column, column
from tests.conformance.folders import NO_SERVER, Files, folder
from tests.conformance.gap import Gap, never
from tests.conformance.source import SourceCase
from tests.conformance.source_case import words
from tests.conformance.values import as_arrow

_COLUMNS: tuple[Column, ...] = (column("id", "bigint"), column("word", "string"))
_LEAST_TASKS = "spark.sql.files.minPartitionNum"
_TYPED = never("a row of Parquet or ORC is typed; of CSV, one that doesn't fit is set aside (`tests/connectors/lake`)")


class TestLake(Files, SourceCase):
    connector = "lake"
    gaps: ClassVar[Mapping[str, Gap]] = {
        **NO_SERVER,
        "test_a_row_that_can_not_be_read_is_set_aside_with_its_place": _TYPED,
        "test_a_limit_of_dirty_rows_stops_the_reading": _TYPED,
    }

    @pytest.fixture(autouse=True)
    def _a_task_a_file(self, spark: SparkSession) -> Iterator[None]:
        """Spark would give such small files to one task, which has them all before its first rows are seen."""
        spark.conf.set(_LEAST_TASKS, "8")
        yield
        spark.conf.unset(_LEAST_TASKS)

    @classmethod
    def serve(cls) -> AbstractContextManager[Path]:
        return folder()

    def options(self) -> Mapping[str, Any]:
        return {"path": str(self.server / self.place)}

    def make(self) -> None:
        self._columns = _COLUMNS
        (self.server / self.place).mkdir()
        self._write("empty", [])

    def add(self, first: int, last: int) -> None:
        self._write(f"from-{first}", words(first, last))

    def fill(self, columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        self._columns = tuple(columns)
        (self.server / self.place).mkdir()
        self._write("typed", [as_arrow(row) for row in rows])
        return self.options()

    def add_column(self) -> None:
        self._columns = (*_COLUMNS, column("more", "int"))

    def drop_column(self) -> None:
        self._columns = _COLUMNS[:1]
        self._write("from-1", words(1, 5))

    def change_type(self) -> None:
        self._columns = (_COLUMNS[0], column("word", "binary"))
        self._write("empty", [])
        self._write("from-1", words(1, 5))

    def remove(self) -> None:
        shutil.rmtree(self.server / self.place)

    def _write(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        table = pa.Table.from_pylist([dict(row) for row in rows], schema=schema_of(self._columns))
        pq.write_table(table, str(self.server / self.place / f"{name}.parquet"))
