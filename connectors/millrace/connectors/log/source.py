"""Log files as a source: which files and which parts of them, frozen; then their rows, read by the tasks themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from millrace.connectors.base import Gate, PlanRequest, Source, SourcePlan, SourceRead
from millrace.connectors.files import FileInfo, existing_file, hadoop_file, is_local, list_files
from millrace.connectors.log import hadoop
from millrace.connectors.log.delimited import split_header
from millrace.connectors.log.lines import Place, decode_lines, split_lines
from millrace.connectors.log.local import Piece, TextSample, check_unchanged, compression_of, sample_text
from millrace.connectors.log.options import Compression, Format, Invalid, LogOptions
from millrace.connectors.log.reading import LineReading
from millrace.connectors.log.splits import plan_splits
from millrace.connectors.log.time_layout import COMBINED_TIME, ISO, ISO_DATE
from millrace.connectors.log.typed import TypedField
from millrace.connectors.spark_schema import spark_ddl
from millrace.errors import NotAvailable, SourceError
from millrace.spec.diagnostics import did_you_mean
from millrace.spec.types import Column, Kind, column

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class LogSource(Source):
    """Reads `LogOptions`. Local files are read by the tasks themselves, others through Spark's text reader."""

    options: LogOptions

    def plan(self, request: PlanRequest) -> SourcePlan:
        """Freeze the list of files with their sizes and times of change, and the parts that tasks will read.

        Raises SourceError for a pattern that names no file, an unknown compression, or a header that can't be used.
        """
        local = self._all_local()
        files = list_files(self.options.path, request.spark, allow_empty=self.options.allow_empty)
        compressions = [self._compression(file, local=local) for file in files]
        sample = self._sample(files, compressions, local=local)
        header = self._first_line(files, sample, request.spark)
        columns = self._file_columns(header, files)
        reading = self.reading(columns)
        reading.parser()
        total = sum(file.size for file in files)
        splits = plan_splits(files, compressions, request.channels) if local else [{"path": f.path} for f in files]
        text_bytes = int(total * sample.growth)
        return SourcePlan(
            columns=tuple(field.column for field in reading.fields),
            splits=tuple(splits),
            estimated_rows=int(text_bytes / sample.line_bytes) if sample.line_bytes else None if total else 0,
            estimated_bytes=text_bytes,
            details={"local": local, "files": [file.to_json() for file in files], "file_columns": list(columns)},
            notes=self._notes(files),
        )

    def read(self, spark: SparkSession, plan: SourcePlan, gate: Gate) -> SourceRead:
        """The rows of exactly the planned files, through the gate. Raises SourceError when a file has changed since."""
        files = [FileInfo.from_json(file) for file in plan.details["files"]]
        reading = self.reading(tuple(plan.details["file_columns"]))
        schema = spark_ddl(plan.columns)
        if not files:
            return SourceRead(spark.createDataFrame([], schema), gated=True)
        if not plan.details["local"]:
            for file in files:
                check_unchanged(file, hadoop_file(file.path, spark), Compression.AUTO)
            lines = hadoop.text_frame(spark, [file.path for file in files])
            return SourceRead(lines.mapInArrow(HadoopTask(reading, gate), schema), gated=True)
        for file in files:
            check_unchanged(file, existing_file(file.path), self._compression(file, local=True))
        pieces = [
            tuple(Piece(files[p["file"]], p["start"], p["end"]) for p in split["pieces"]) for split in plan.splits
        ]
        one_each = spark.range(0, len(pieces), 1, len(pieces))
        return SourceRead(one_each.mapInArrow(LocalTask(reading, gate, tuple(pieces)), schema), gated=True)

    def _all_local(self) -> bool:
        for path in self.options.path:
            if "{{" in path:
                raise NotAvailable(
                    f"the path {path} has a template, which is valid but can't be run in this release",
                    hint="write the path out, or use a wildcard",
                )
        local = {is_local(path) for path in self.options.path}
        if len(local) > 1:
            raise SourceError(
                f"the paths {', '.join(self.options.path)} are on local disks and on other file systems",
                hint="read them as two assets, or write file paths of one kind only",
            )
        return local.pop()

    def _compression(self, file: FileInfo, *, local: bool) -> Compression:
        declared = self.options.compression
        told = compression_of(file.path, Compression.AUTO if not local else declared)
        if not local and declared not in (Compression.AUTO, told):
            raise SourceError(
                f"{file.path} is declared as `compression: {declared}`; on this file system the file's ending tells,"
                f" and says {told}",
                hint="name the files by their compression (.gz, .zst), and leave `compression` out",
            )
        return told

    def _sample(self, files: Sequence[FileInfo], compressions: Sequence[Compression], *, local: bool) -> TextSample:
        for file, compression in zip(files, compressions, strict=True):
            if local and file.size:
                sample = sample_text(file, compression)
                if sample.text.startswith(_UTF16_MARKS):
                    raise SourceError(
                        f"{file.path} is written in UTF-16, which can't be split into lines",
                        hint="convert the files to UTF-8 first, e.g. with iconv -f UTF-16 -t UTF-8",
                    )
                return sample
        return TextSample(b"", 1.0)

    def _first_line(self, files: Sequence[FileInfo], sample: TextSample, spark: Callable[[], SparkSession]) -> bytes:
        """The first line of the first file that has one, when it is needed."""
        if not self.options.header:
            return b""
        if sample.text or self._all_local():
            return sample.text
        return next((line for f in files if f.size and (line := hadoop.first_line(spark(), f.path))), b"")

    def _file_columns(self, text: bytes, files: Sequence[FileInfo]) -> tuple[str, ...]:
        options = self.options
        if options.format is not Format.CSV:
            return ()
        if not options.header:
            return tuple(options.fields)
        lines = split_lines(text, Place(files[0].path if files else "", 0, 1))
        _, texts = decode_lines(lines.head(1), options.encoding, replace_invalid=options.invalid is Invalid.REPLACE)
        if not len(texts):
            if options.fields:
                return tuple(options.fields)
            raise SourceError(
                f"none of {', '.join(options.path)} has a header line, which tells the columns",
                hint="set `header: false` and declare `fields`, or see why the files are empty",
            )
        try:
            columns = split_header(texts[0].as_py(), options.delimiter, options.quote)
        except ValueError as error:
            raise SourceError(
                f"{files[0].path} has a header that can't be read: {error}",
                hint="correct the header, or set `header: false` and declare `fields`",
            ) from error
        for name in options.fields:
            if name not in columns:
                raise SourceError(
                    f"`fields` has '{name}', not in the header of {files[0].path}{did_you_mean(name, columns)}",
                    hint=f"its columns are {', '.join(columns)}",
                )
        return columns

    def reading(self, file_columns: tuple[str, ...] = ()) -> LineReading:
        """How lines are read; `file_columns` are all columns of the files, for `format: csv`."""
        options = self.options
        known: Sequence[Column | str] | None = options.known_columns()
        columns = [column(name, "string") for name in file_columns] if known is None else known
        fields = []
        for c in columns:
            assert isinstance(c, Column)
            declared = options.fields.get(c.name)
            null = options.null_texts if declared is None or declared.null is None else declared.null
            zone = declared.zone if declared else "UTC"
            fields.append(TypedField(c.name, c.type, self._time_format(c), zone, null))
        return LineReading(options, tuple(fields), file_columns)

    def _time_format(self, column_: Column) -> str:
        declared = self.options.fields.get(column_.name)
        if declared and declared.format:
            return declared.format
        if column_.type.kind is Kind.DATE:
            return ISO_DATE
        if column_.type.kind in (Kind.TIMESTAMP, Kind.TIMESTAMP_NTZ):
            return COMBINED_TIME if self.options.format is Format.COMBINED else ISO
        return ""

    def _notes(self, files: Sequence[FileInfo]) -> tuple[str, ...]:
        size = sum(file.size for file in files)
        empty = sum(not file.size for file in files)
        count = "1 file" if len(files) == 1 else f"{len(files):,} files"
        return (f"{count}, {size:,} bytes" + (f"; {empty:,} of them empty" if empty else ""),)


@dataclass(frozen=True)
class LocalTask:
    """Reads its own part of the plan: the split with the number that Spark gives it."""

    reading: LineReading
    gate: Gate
    splits: tuple[tuple[Piece, ...], ...]

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for split in batch.column(0).to_numpy():
                yield from self.reading.read_pieces(self.splits[int(split)], self.gate)


@dataclass(frozen=True)
class HadoopTask:
    """Parses the lines that Spark's text reader brings."""

    reading: LineReading
    gate: Gate

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from self.reading.read(hadoop.raw_lines(batches), self.gate)
