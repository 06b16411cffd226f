"""Which files a set of paths and wildcards names: on local disks without a JVM, elsewhere through Spark's Hadoop.

Wildcards: `*` `?` `[a-z]` within a name, `{a,b}` for either, and on local disks `**` for any folders. A path to a
folder names the files in it. Names that start with `_` or `.` are left out, as Hadoop and Spark do, unless the pattern
itself starts so.
"""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from millrace.errors import SourceError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/")
_WILDCARDS = re.compile(r"[*?\[{]")
_SHOWN_NAMES = 5


@dataclass(frozen=True)
class FileInfo:
    """One file as it was when it was listed. `inode` is 0 where the file system has none."""

    path: str
    size: int
    modified_us: int
    inode: int = 0

    def to_json(self) -> dict[str, Any]:
        return {"path": self.path, "size": self.size, "modified_us": self.modified_us, "inode": self.inode}

    @classmethod
    def from_json(cls, data: Any) -> FileInfo:
        return cls(data["path"], data["size"], data["modified_us"], data["inode"])


def is_local(path: str) -> bool:
    """Whether a path is on a local disk: a plain path, or a `file:` URL."""
    found = _SCHEME.match(path)
    return found is None or found.group(1).lower() == "file"


def list_files(
    patterns: Sequence[str], spark: Callable[[], SparkSession], *, allow_empty: bool = False
) -> tuple[FileInfo, ...]:
    """Every file that one of the patterns names, once each, by path. `spark` is called for paths not on local disks.

    Raises SourceError for a pattern that names no file, unless `allow_empty`, and says what its folder holds instead.
    """
    found: dict[str, FileInfo] = {}
    for pattern in patterns:
        files = list(_local_files(pattern) if is_local(pattern) else _hadoop_files(pattern, spark()))
        if not files and not allow_empty:
            raise SourceError(f"listing files: no file matches {pattern}", hint=_what_there_is(pattern))
        found.update((file.path, file) for file in files)
    return tuple(found[path] for path in sorted(found))


def local_patterns(path: str) -> list[str]:
    """The patterns without `{a,b}` that a local path stands for."""
    return _braces(plain_path(path))


def local_file(path: str) -> FileInfo:
    """What a local file is now. Raises OSError when it isn't there."""
    status = os.stat(path)
    return FileInfo(path, status.st_size, status.st_mtime_ns // 1000, status.st_ino)


def existing_file(path: str) -> FileInfo:
    """What a local file is now. Raises SourceError when it isn't there."""
    try:
        return local_file(path)
    except OSError as error:
        raise SourceError(
            f"{path}, which the run has planned to read, can't be looked at: {error.strerror}",
            hint="start a new run, which plans anew with the files that there are",
        ) from error


def hadoop_file(path: str, spark: SparkSession) -> FileInfo:
    """What a file is now, through Hadoop. Raises SourceError when it can't be looked at."""
    with_path = _HadoopPath(path, spark)
    return with_path.info(with_path.call("looking at", lambda: with_path.fs().getFileStatus(with_path.path)))


class HadoopReader:
    """Reads parts of files in the driver's JVM."""

    def __init__(self, spark: SparkSession) -> None:
        self._spark = spark

    def read(self, path: str, start: int, size: int) -> bytes:
        """At most so many bytes from a position on. Raises SourceError when the file can't be read."""
        if size <= 0:
            return b""
        place = _HadoopPath(path, self._spark)
        data: bytes = place.call("reading", partial(self._read, place, start, size))
        return data

    def below(self, pattern: str, wanted: Callable[[str], bool]) -> Iterator[FileInfo]:
        """The files below a folder, file or glob; folders and files whose names aren't wanted are left out."""
        place = _HadoopPath(pattern, self._spark)
        statuses = list(place.call("listing", lambda: place.fs().globStatus(place.path)) or ())
        while statuses:
            status = statuses.pop()
            if status.isFile():
                yield place.info(status)
                continue
            inside = place.call("listing", partial(_inside, place, status))
            statuses += [one for one in inside if wanted(one.getPath().getName())]

    def _read(self, place: _HadoopPath, start: int, size: int) -> bytes:
        stream = place.fs().open(place.path)
        try:
            stream.seek(start)
            return bytes(stream.readNBytes(size))
        finally:
            stream.close()


def _local_files(pattern: str) -> Iterator[FileInfo]:
    for expanded in _braces(plain_path(pattern)):
        places = glob.glob(expanded, recursive=True, include_hidden=True) if _WILDCARDS.search(expanded) else [expanded]
        for place in places:
            if os.path.isdir(place):
                if "**" not in expanded:
                    yield from _existing(os.path.join(place, name) for name in os.listdir(place) if not _hidden(name))
            elif not _hidden_below(place, expanded):
                yield from _existing([place])


def _existing(paths: Iterator[str] | list[str]) -> Iterator[FileInfo]:
    for path in paths:
        try:
            info = local_file(os.path.abspath(path))
            regular = stat.S_ISREG(os.stat(path).st_mode)
        except FileNotFoundError:
            continue  # it went away between the listing and now: the plan holds what there is
        if regular:
            yield info


def plain_path(path: str) -> str:
    """The path of a plain path or a `file:` URL."""
    return re.sub(r"^file:(?://(?=/))?", "", path, flags=re.IGNORECASE)


def _hidden(name: str) -> bool:
    return name.startswith(("_", "."))


def _hidden_below(place: str, pattern: str) -> bool:
    """Whether a name that a wildcard stands for is hidden; a name that the pattern spells out is not."""
    wanted = os.path.basename(pattern)
    return _hidden(os.path.basename(place)) and bool(_WILDCARDS.match(wanted))


def _braces(pattern: str) -> list[str]:
    """The patterns without `{a,b}` that a pattern with it stands for."""
    found = re.search(r"\{([^{}]*)\}", pattern)
    if found is None:
        return [pattern]
    return [
        expanded
        for choice in found.group(1).split(",")
        for expanded in _braces(pattern[: found.start()] + choice + pattern[found.end() :])
    ]


def _what_there_is(pattern: str) -> str:
    advice = "correct `path`, or set `allow_empty: true` if that is to be expected"
    if not is_local(pattern):
        return advice
    folder = os.path.abspath(os.path.dirname(_WILDCARDS.split(plain_path(pattern))[0] + "x"))
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    names = sorted(os.listdir(folder))
    shown = ", ".join(names[:_SHOWN_NAMES]) + (
        f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    )
    return f"{folder} holds {shown or 'nothing'}; {advice}"


def _hadoop_files(pattern: str, spark: SparkSession) -> Iterator[FileInfo]:
    where = _HadoopPath(pattern, spark)
    for status in where.call("listing", lambda: where.fs().globStatus(where.path)) or ():
        inside = [status]
        if status.isDirectory():
            inside = where.call("listing", partial(_inside, where, status))
        yield from (where.info(file) for file in inside if file.isFile() and not _hidden(file.getPath().getName()))


def _inside(where: _HadoopPath, folder: Any) -> Any:
    return where.fs().listStatus(folder.getPath())


class _HadoopPath:
    """One path through the driver's JVM. A PySpark session keeps its gateway and Hadoop configuration private."""

    def __init__(self, path: str, spark: SparkSession) -> None:
        context: Any = spark.sparkContext
        self._configuration = context._jsc.hadoopConfiguration()
        self._text = path
        self.path = self.call("reading the path", lambda: context._jvm.org.apache.hadoop.fs.Path(path))

    def fs(self) -> Any:
        return self.path.getFileSystem(self._configuration)

    def call(self, doing: str, work: Callable[[], Any]) -> Any:
        from py4j.protocol import Py4JJavaError  # type: ignore[import-untyped]  # py4j ships no types

        try:
            return work()
        except Py4JJavaError as error:
            cause = error.java_exception
            raise SourceError(
                f"{doing} {self._text}: {cause.getClass().getSimpleName()}: {cause.getMessage()}",
                hint="see whether the path exists and Spark has the jars and the credentials of its file system"
                " (spark.jars, spark.hadoop.*)",
            ) from error

    def info(self, status: Any) -> FileInfo:
        return FileInfo(status.getPath().toString(), status.getLen(), status.getModificationTime() * 1000)
