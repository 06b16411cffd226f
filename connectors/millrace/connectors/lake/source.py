"""A lake as a source: the files frozen in the plan, read by Spark's own readers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa

from millrace.connectors.base import DirtyRow, Gate, PlanRequest, Source, SourcePlan, SourceRead
from millrace.connectors.channel import timed
from millrace.connectors.files import FileInfo, existing_file, hadoop_file, is_local
from millrace.connectors.lake.listing import lake_files, what_there_is
from millrace.connectors.lake.news import news
from millrace.connectors.lake.options import FileFormat, LakeOptions, Which
from millrace.connectors.lake.partitions import Values, base_of, partition_columns, values_of
from millrace.connectors.spark_schema import spark_ddl
from millrace.errors import SourceError
from millrace.spec.diagnostics import did_you_mean, listed
from millrace.spec.types import Column, column

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_GLOB_CHARACTERS = str.maketrans({c: f"\\{c}" for c in "\\*?[]{}"})
_BAD = "_millrace_bad"
_FILE = "_millrace_file"
_COUNTED_FILES = 200


class LakeSource(Source):
    """Reads `LakeOptions`. Partitions and files are chosen when the run is planned, rows when it reads."""

    wait_metrics = ("scan time",)
    options: LakeOptions

    def plan(self, request: PlanRequest) -> SourcePlan:
        """Freeze the list of files with their sizes and times of change, and the columns with their types.

        Raises SourceError when there is no file, a column is missing, or a type can't be held.
        """
        options = self.options
        listed_files = lake_files(options.path, options.partitions, request.spark)
        if not listed_files and not options.allow_empty:
            raise SourceError(f"listing a lake: no file below {options.path}", hint=what_there_is(options.path))
        partitions = [values_of(file.path) for file in listed_files]
        by_partition = self._partition_columns(partitions)
        files = self._pruned(listed_files, partitions, by_partition, request)
        found = news(request.watermark, files, time.time_ns() // 1000) if options.read is Which.NEW else None
        taken = files if found is None else list(found.files)
        in_files = self._file_columns(listed_files, by_partition, request)
        columns = self._wanted((*in_files, *by_partition))
        size = sum(file.size for file in taken)
        pruned = len(listed_files) - len(files)
        return SourcePlan(
            columns=columns,
            splits=tuple({"path": file.path, "size": file.size} for file in taken),
            estimated_rows=self._rows(taken),
            estimated_bytes=size,
            watermark=None if found is None else found.watermark,
            details={
                "files": [file.to_json() for file in taken],
                "file_columns": [{"name": c.name, "type": str(c.type)} for c in in_files],
                "partition_columns": [{"name": c.name, "type": str(c.type)} for c in by_partition],
            },
            notes=(
                *([found.note] if found else []),
                f"{len(taken):,} files, {size:,} bytes"
                + (f"; {pruned:,} more are in partitions that `where` leaves out" if pruned else ""),
            ),
        )

    def read(self, spark: SparkSession, plan: SourcePlan, gate: Gate) -> SourceRead:
        """The rows of exactly the planned files. Raises SourceError when a file has changed since."""
        files = [FileInfo.from_json(file) for file in plan.details["files"]]
        if not files:
            return SourceRead(spark.createDataFrame([], spark_ddl(plan.columns)), gated=True)
        for file in files:
            _check_unchanged(file, spark)
        columns = [
            column(c["name"], c["type"]) for c in (*plan.details["file_columns"], *plan.details["partition_columns"])
        ]
        csv = self.options.format is FileFormat.CSV
        frame = self._frame(spark, files, columns)
        if csv:
            frame = frame.mapInArrow(CsvTask(gate, tuple(c.name for c in columns)), spark_ddl(columns))
        if self.options.where is not None:
            frame = frame.where(self.options.where)
        return SourceRead(frame.select(*(f"`{c.name}`" for c in plan.columns)), gated=csv)

    def _frame(self, spark: SparkSession, files: Sequence[FileInfo], columns: Sequence[Column]) -> DataFrame:
        options = self.options
        base = base_of(files[0].path) if values_of(files[0].path) else None
        reader = spark.read if base is None else spark.read.option("basePath", _uri(base))
        paths = [_uri(file.path) for file in files]
        if options.format is not FileFormat.CSV:
            return reader.schema(spark_ddl(columns)).format(str(options.format)).load(paths)
        reader = (
            reader.option("header", str(options.header).lower())
            .option("sep", options.delimiter)
            .option("enforceSchema", "false")
            .option("mode", "PERMISSIVE")
            .option("columnNameOfCorruptRecord", _BAD)
            .schema(f"{spark_ddl(columns)}, `{_BAD}` string")
        )
        names = [f"`{c.name}`" for c in columns]
        return reader.csv(paths).selectExpr(*names, f"`{_BAD}`", f"_metadata.file_path AS `{_FILE}`")

    def _partition_columns(self, partitions: Sequence[Values]) -> tuple[Column, ...]:
        try:
            found = partition_columns(partitions)
        except ValueError as error:
            raise SourceError(
                f"listing the lake {self.options.path}: {error}",
                hint="read folders that are laid out differently as assets of their own",
            ) from error
        names = [c.name for c in found]
        for name in self.options.partitions:
            if found and name not in names:
                raise SourceError(
                    f"`partitions` has '{name}', and the folders below {self.options.path} are by {listed(names)}"
                    f"{did_you_mean(name, names)}",
                    hint="correct the name",
                )
        return found

    def _pruned(
        self,
        files: Sequence[FileInfo],
        partitions: Sequence[Values],
        columns: Sequence[Column],
        request: PlanRequest,
    ) -> list[FileInfo]:
        """The files in partitions for which the parts of `where` that speak of partitions alone are true."""
        condition = partition_condition(self.options.where, {c.name for c in columns})
        if not condition or not files:
            return list(files)
        distinct = sorted(set(partitions), key=repr)
        texts = ", ".join(f"`{c.name}` string" for c in columns)
        rows = [(number, *(value for _, value in values)) for number, values in enumerate(distinct)]
        typed = [f"CAST(`{c.name}` AS {c.type}) AS `{c.name}`" for c in columns]
        frame = request.spark().createDataFrame(rows, f"_n int, {texts}").selectExpr("_n", *typed)
        kept = {distinct[row[0]] for row in frame.where(condition).select("_n").collect()}
        return [file for file, values in zip(files, partitions, strict=True) if values in kept]

    def _file_columns(
        self, files: Sequence[FileInfo], partitions: Sequence[Column], request: PlanRequest
    ) -> tuple[Column, ...]:
        """The columns in the files: as declared for CSV, else those of the file that was written last."""
        names = {c.name for c in partitions}
        if self.options.row_schema is not None:
            return tuple(Column(name, type_) for name, type_ in self.options.row_schema.items() if name not in names)
        if not files:
            raise SourceError(
                f"planning the lake {self.options.path}: there is no file to tell the columns",
                hint="put the first file there; `allow_empty` is for folders that have had some",
            )
        newest = max(files, key=lambda file: (file.modified_us, file.path))
        reader = request.spark().read.format(str(self.options.format))
        schema = reader.load(_uri(newest.path)).schema
        found = []
        for field in schema.fields:
            try:
                found.append(column(field.name, field.dataType.simpleString()))
            except ValueError as error:
                if self.options.columns is None or field.name in self.options.columns:
                    raise SourceError(
                        f"planning the lake {self.options.path}: the column {field.name} of {newest.path}: {error}",
                        hint="name the other columns in `columns`",
                    ) from error
        return tuple(c for c in found if c.name not in names)

    def _wanted(self, columns: Sequence[Column]) -> tuple[Column, ...]:
        if self.options.columns is None:
            return tuple(columns)
        known = {c.name: c for c in columns}
        for name in self.options.columns:
            if name not in known:
                raise SourceError(
                    f"`columns` has '{name}', which the lake {self.options.path} doesn't have"
                    f"{did_you_mean(name, known)}",
                    hint=f"its columns are {listed(list(known), 50)}",
                )
        return tuple(known[name] for name in self.options.columns)

    def _rows(self, files: Sequence[FileInfo]) -> int | None:
        """What the footers of local Parquet files say, when those aren't too many."""
        if not files:
            return 0
        plain = self.options.format is FileFormat.PARQUET and self.options.where is None
        if not plain or len(files) > _COUNTED_FILES or not is_local(self.options.path):
            return None
        import pyarrow.parquet as pq

        try:
            return sum(int(pq.read_metadata(file.path).num_rows) for file in files)
        except (OSError, pa.ArrowInvalid) as error:
            raise SourceError(
                f"planning the lake {self.options.path}: {error}", hint="see whether all files are whole Parquet files"
            ) from error


def _uri(path: str) -> str:
    """A path for Spark, whatever its default file system is."""
    escaped = path.translate(_GLOB_CHARACTERS)
    return f"file://{escaped}" if is_local(path) else escaped


def partition_condition(where: str | None, partitions: set[str]) -> str:
    """The parts of a condition, joined by AND at its top, that name partition columns and nothing else."""
    if where is None or not partitions:
        return ""
    from sqlglot import exp

    from millrace.spec.sql import tree_of

    tree = tree_of(where)
    if tree is None:
        return ""
    parts = tree.flatten() if isinstance(tree, exp.And) else [tree]
    lower = {name.lower() for name in partitions}
    chosen = []
    for part in parts:
        named = {c.name.lower() for c in part.find_all(exp.Column)}
        if named and named <= lower and part.find(exp.Query) is None:
            chosen.append(f"({part.sql(dialect='spark')})")
    return " AND ".join(chosen)


def _check_unchanged(planned: FileInfo, spark: SparkSession) -> None:
    now = existing_file(planned.path) if is_local(planned.path) else hadoop_file(planned.path, spark)
    if (now.size, now.modified_us) != (planned.size, planned.modified_us):
        raise SourceError(
            f"{planned.path} has changed since the run was planned: {now.size:,} bytes instead of {planned.size:,}, or"
            " a later time",
            hint="start a new run, which plans anew; write new files to a lake instead of changing old ones",
        )


@dataclass(frozen=True)
class CsvTask:
    """Passes the rows of Spark's CSV reader through the gate, and sets aside those that it couldn't read."""

    gate: Gate
    names: tuple[str, ...]

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for waited, batch in timed(batches):
            bad: Any = batch.column(len(self.names))
            files: Any = batch.column(len(self.names) + 1)
            dirty = [
                DirtyRow("the line doesn't fit the schema", unquote(files[i].as_py()), bad[i].as_py().encode())
                for i in range(batch.num_rows if bad.null_count < batch.num_rows else 0)
                if bad[i].is_valid
            ]
            good = batch.filter(bad.is_null()) if dirty else batch
            passed = good.select(list(range(len(self.names))))
            self.gate.admit(batch.num_rows, passed.nbytes)
            self.gate.done(passed.num_rows, passed.nbytes, dirty, waited)
            if passed.num_rows:
                yield passed
