"""Log files as a source: which files and which parts of them, frozen; then their rows, read by the tasks themselves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NoReturn

import pyarrow as pa

from millrace.connectors.base import Gate, PlanRequest, Source, SourcePlan, SourceRead
from millrace.connectors.files import FileInfo, HadoopReader, existing_file, is_local, list_files, local_file
from millrace.connectors.log import hadoop
from millrace.connectors.log.delimited import split_header
from millrace.connectors.log.lines import Place, decode_lines, split_lines
from millrace.connectors.log.local import Piece, TextSample, check_unchanged, compression_of, sample_text
from millrace.connectors.log.manifest import Manifest, News, Take, Text, news
from millrace.connectors.log.options import Compression, Format, Invalid, LogOptions, Which
from millrace.connectors.log.reading import LineReading
from millrace.connectors.log.splits import plan_splits
from millrace.connectors.log.texts import HadoopText, LocalText
from millrace.connectors.log.time_layout import COMBINED_TIME, ISO, ISO_DATE
from millrace.connectors.log.typed import TypedField
from millrace.connectors.spark_schema import spark_ddl
from millrace.connectors.spark_tasks import read_by_tasks
from millrace.errors import SourceError
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
        compressions = {file.path: self._compression(file, local=local) for file in files}
        sample = self._sample(files, compressions, local=local)
        header = self._first_line(files, sample, request.spark)
        columns = self._file_columns(header, files)
        reading = self.reading(columns)
        reading.parser()
        found = self._news(files, compressions, request, local=local)
        takes, parts = found.takes, [(take.start, take.end) for take in found.takes]
        total = sum(end - start for start, end in parts)
        taken = [compressions[take.file.path] for take in takes]
        splits = (
            plan_splits([take.file for take in takes], taken, request.channels, parts)
            if local
            else [{"path": take.file.path} for take in takes]
        )
        text_bytes = int(total * sample.growth)
        return SourcePlan(
            columns=tuple(field.column for field in reading.fields),
            splits=tuple(splits),
            estimated_rows=int(text_bytes / sample.line_bytes) if sample.line_bytes else None if total else 0,
            estimated_bytes=text_bytes,
            watermark=found.manifest.to_json() if self.options.read is Which.NEW else None,
            details={
                "local": local,
                "files": [take.file.to_json() for take in takes],
                "file_columns": list(columns),
                **({"parts": [list(part) for part in parts]} if self.options.read is Which.NEW else {}),
            },
            notes=found.notes,
        )

    def read(self, spark: SparkSession, plan: SourcePlan, gate: Gate) -> SourceRead:
        """The rows of exactly the planned files, through the gate. Raises SourceError when a file has changed since."""
        files = [FileInfo.from_json(file) for file in plan.details["files"]]
        reading = self.reading(tuple(plan.details["file_columns"]))
        if not files:
            return SourceRead(spark.createDataFrame([], spark_ddl(plan.columns)), gated=True)
        parts = [(int(start), int(end)) for start, end in plan.details.get("parts", ())]
        if not plan.details["local"]:
            partly = hadoop.partly_read(files, parts, self.options.compression) if parts else {}
            lines = hadoop.planned_lines(spark, files, partly)
            return read_by_tasks(lines, HadoopTask(reading, gate, partly), plan.columns)
        if parts:
            files = self._where_now(files)
        for file in files:
            check_unchanged(file, existing_file(file.path), self._compression(file, local=True))
        pieces = [
            tuple(
                Piece(files[p["file"]], p["start"], p["end"], parts[p["file"]][1] if parts else None)
                for p in split["pieces"]
            )
            for split in plan.splits
        ]
        one_each = spark.range(0, len(pieces), 1, len(pieces))
        return read_by_tasks(one_each, LocalTask(reading, gate, tuple(pieces)), plan.columns)

    def _news(
        self, files: Sequence[FileInfo], compressions: Mapping[str, Compression], request: PlanRequest, *, local: bool
    ) -> News:
        """What the run takes: all of the files, or what is new in them since the last publish."""
        if self.options.read is Which.ALL:
            return News(tuple(Take(file, 0, file.size) for file in files), Manifest(), self._notes(files))

        def text_of(file: FileInfo) -> Text:
            compression = compressions[file.path]
            return (
                LocalText(file, compression) if local else HadoopText(file, compression, HadoopReader(request.spark()))
            )

        return news(Manifest.from_json(request.watermark), files, text_of, time.time_ns() // 1000)

    def _where_now(self, files: Sequence[FileInfo]) -> list[FileInfo]:
        """The planned files under the names that they have now: some may have been rotated since."""
        if all(_inode_at(file.path) == file.inode for file in files):
            return list(files)
        now = {f.inode: f.path for f in list_files(self.options.path, no_session, allow_empty=True)}
        return [replace(file, path=now.get(file.inode, file.path)) for file in files]

    def _all_local(self) -> bool:
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

    def _sample(self, files: Sequence[FileInfo], compressions: Mapping[str, Compression], *, local: bool) -> TextSample:
        for file in files:
            if local and file.size:
                sample = sample_text(file, compressions[file.path])
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
    """Parses the lines that Spark's text reader brings. `parts`: the bytes to keep of files that aren't read whole."""

    reading: LineReading
    gate: Gate
    parts: hadoop.Parts

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        lines = hadoop.raw_lines(batches)
        yield from self.reading.read(hadoop.only_parts(lines, self.parts) if self.parts else lines, self.gate)


def no_session() -> NoReturn:
    """Stands for a Spark session where only local files are listed."""
    raise AssertionError("local files are listed without Spark")


def _inode_at(path: str) -> int:
    try:
        return local_file(path).inode
    except OSError:
        return 0
