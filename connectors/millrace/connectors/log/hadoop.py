"""Reading lines from any Hadoop file system: Spark's text reader finds and decompresses them in the JVM.

It can't say where in the file a line stands when a split starts inside the file, so there the line is counted from the
split's start. It holds a whole line in memory, whatever `max_line_bytes` says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import pairwise
from typing import TYPE_CHECKING
from urllib.parse import unquote

import numpy as np
import pyarrow as pa

from millrace.connectors.files import FileInfo, hadoop_file
from millrace.connectors.log.arrays import ArrowArray
from millrace.connectors.log.lines import Place, RawLines, lines_of_rows
from millrace.connectors.log.local import check_unchanged, compression_of
from millrace.connectors.log.options import Compression

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_NO_LIMIT = 1 << 60
_GLOB_CHARACTERS = str.maketrans({c: f"\\{c}" for c in "\\*?[]{}"})


def text_frame(spark: SparkSession, paths: Sequence[str]) -> DataFrame:
    """The lines of these files, in splits of Spark's choice: columns `line` (binary), `path`, `split_start`."""
    reader = spark.read.option("lineSep", "\n")
    lines = reader.text([path.translate(_GLOB_CHARACTERS) for path in paths])
    return lines.selectExpr(
        "cast(value as binary) as line", "_metadata.file_path as path", "_metadata.file_block_start as split_start"
    )


Parts = Mapping[str, tuple[int, int]]
"""Bytes of text `[start, end)` of the files that aren't read whole."""


def partly_read(files: Sequence[FileInfo], parts: Sequence[tuple[int, int]], declared: Compression) -> Parts:
    """The files whose planned part is not all of their text."""
    found: dict[str, tuple[int, int]] = {}
    for file, (start, end) in zip(files, parts, strict=True):
        compressed = compression_of(file.path, declared) is not Compression.NONE
        if start or (end < file.size and not compressed):
            found[file.path] = (start, _NO_LIMIT if compressed else end)
    return found


def planned_lines(spark: SparkSession, files: Sequence[FileInfo], parts: Parts) -> DataFrame:
    """The lines of the planned files; those read in part come whole, each in one split, so that bytes can be counted.

    Raises SourceError when a file has changed, or otherwise than by growing where only a part of it is read.
    """
    for file in files:
        grows = parts.get(file.path, (0, _NO_LIMIT))[1] != _NO_LIMIT
        check_unchanged(file, hadoop_file(file.path, spark), Compression.NONE if grows else Compression.AUTO)
    whole = [file.path for file in files if file.path not in parts]
    frames = [text_frame(spark, whole)] if whole else []
    if parts:
        frames.append(text_frame(_unsplit(spark), list(parts)))
    return reduce(lambda one, other: one.unionAll(other), frames)


def _unsplit(spark: SparkSession) -> SparkSession:
    """A session beside this one that reads each file in one task."""
    session = spark.newSession()
    session.conf.set("spark.sql.files.maxPartitionBytes", str(_NO_LIMIT))
    session.conf.set("spark.sql.files.openCostInBytes", str(_NO_LIMIT))
    return session


def only_parts(lines: Iterable[RawLines], parts: Parts) -> Iterator[RawLines]:
    """Of files that were read in one split only the lines between the bytes of their part."""
    for block in lines:
        start, end = parts.get(block.place.path, (0, _NO_LIMIT))
        inside = np.flatnonzero((block.offsets >= start) & (block.offsets < end))
        if len(inside) == len(block.offsets):
            yield block
        elif len(inside):
            yield block.keep(inside, ())


def first_line(spark: SparkSession, path: str) -> bytes:
    """The first line of a file; empty when it has none."""
    row = text_frame(spark, [path]).select("line").head()
    return bytes(row[0]) if row else b""


def raw_lines(batches: Iterator[pa.RecordBatch]) -> Iterator[RawLines]:
    """The rows of `text_frame`, as lines of one split at a time."""
    place: Place | None = None
    for batch in batches:
        path, start = batch.column(1), batch.column(2)
        for first, count in _runs(path, start):
            name, split_start = unquote(path[first].as_py()), start[first].as_py()
            if place is None or (place.path, place.split_start) != (name, split_start):
                place = Place(name, 0, 1, split_start)
            lines = lines_of_rows(batch.column(0).slice(first, count), place)
            place = lines.after
            yield lines


def _runs(path: ArrowArray, start: ArrowArray) -> list[tuple[int, int]]:
    """(first row, rows) of each run of rows of one split."""
    if not len(path):
        return []
    encoded = path.dictionary_encode()
    codes, starts = np.asarray(encoded.indices), np.asarray(start)
    edges = np.flatnonzero((np.diff(codes) != 0) | (np.diff(starts) != 0)) + 1
    bounds = np.concatenate(([0], edges, [len(path)]))
    return [(int(a), int(b - a)) for a, b in pairwise(bounds)]
