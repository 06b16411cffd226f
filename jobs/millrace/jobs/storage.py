"""Files of a run under the work directory: stages, samples. A local path is handled by Python, any other by Hadoop.

WORK_DIR/<asset>/<run id>/stage/*.parquet          the stage
WORK_DIR/<asset>/<run id>/stage/_schema.json         what its columns are, as Spark writes it
WORK_DIR/<asset>/<run id>/samples/<target>.arrow   rows that verify reads back
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class Storage(Protocol):
    """The few file operations that a run needs. Paths are absolute, as `path` gives them."""

    def path(self, *parts: str) -> str:
        """The full path or URI of something below the work directory."""

    def exists(self, path: str) -> bool: ...

    def names(self, path: str) -> list[str]:
        """Names of the entries in a folder; empty when there is none."""

    def delete(self, path: str) -> None:
        """Delete a file or a whole folder; no error when there is none."""

    def write(self, path: str, data: bytes) -> None:
        """Write a small file whole, making its folder."""

    def read(self, path: str) -> bytes: ...

    def size(self, path: str) -> int:
        """Bytes of all files below a path."""

    def parquet_rows(self, path: str) -> int:
        """Rows of the Parquet files in a folder, as the files themselves say."""

    def local_files(self, path: str) -> list[Path]:
        """The Parquet files of a folder that this process sees; none of any other."""


def storage(work_dir: str, spark: Callable[[], SparkSession]) -> Storage:
    """The storage for a work directory: a plain path or `file:` URI is local, anything else is Hadoop's."""
    parts = urlsplit(work_dir)
    if parts.scheme in ("", "file"):
        return LocalStorage(Path(parts.path).absolute(), "file://" if parts.scheme else "")
    return HadoopStorage(work_dir.rstrip("/"), spark)


class LocalStorage:
    """A folder that this process sees. Its paths keep the `file://` that it was named with: Spark must not take them
    for paths of the cluster's own file system."""

    def __init__(self, root: Path, prefix: str = "") -> None:
        self._root = root
        self._prefix = prefix

    def path(self, *parts: str) -> str:
        return f"{self._prefix}{self._root.joinpath(*parts)}"

    def local(self, path: str) -> str:
        """A path as the operating system knows it."""
        return path.removeprefix(self._prefix)

    def exists(self, path: str) -> bool:
        return Path(self.local(path)).exists()

    def names(self, path: str) -> list[str]:
        folder = Path(self.local(path))
        return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []

    def delete(self, path: str) -> None:
        folder = Path(self.local(path))
        shutil.rmtree(folder, ignore_errors=not folder.exists())

    def remove(self, path: str) -> None:
        """Delete one file; no error when there is none."""
        Path(self.local(path)).unlink(missing_ok=True)

    def write(self, path: str, data: bytes) -> None:
        file = Path(self.local(path))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    def read(self, path: str) -> bytes:
        return Path(self.local(path)).read_bytes()

    def size(self, path: str) -> int:
        return sum(entry.stat().st_size for entry in Path(self.local(path)).rglob("*") if entry.is_file())

    def parquet_rows(self, path: str) -> int:
        import pyarrow.parquet as pq

        return sum(pq.read_metadata(file).num_rows for file in self.local_files(path))

    def local_files(self, path: str) -> list[Path]:
        return sorted(Path(self.local(path)).glob("*.parquet"))


class HadoopStorage:
    """Any file system that Spark's Hadoop can reach, through the driver's JVM."""

    def __init__(self, root: str, spark: Callable[[], SparkSession]) -> None:
        self._root = root
        self._spark = spark

    def path(self, *parts: str) -> str:
        return "/".join((self._root, *parts))

    def exists(self, path: str) -> bool:
        system, at = self._at(path)
        return bool(system.exists(at))

    def names(self, path: str) -> list[str]:
        system, at = self._at(path)
        if not system.exists(at):
            return []
        return sorted(status.getPath().getName() for status in system.listStatus(at))

    def delete(self, path: str) -> None:
        system, at = self._at(path)
        system.delete(at, True)

    def write(self, path: str, data: bytes) -> None:
        system, at = self._at(path)
        stream = system.create(at, True)
        try:
            stream.write(bytearray(data))
        finally:
            stream.close()

    def read(self, path: str) -> bytes:
        system, at = self._at(path)
        stream = system.open(at)
        try:
            return bytes(stream.readAllBytes())
        finally:
            stream.close()

    def size(self, path: str) -> int:
        system, at = self._at(path)
        return int(system.getContentSummary(at).getLength())

    def parquet_rows(self, path: str) -> int:
        return self._spark().read.parquet(path).count()

    def local_files(self, path: str) -> list[Path]:
        return []

    def _at(self, path: str) -> tuple[Any, Any]:
        context = self._spark().sparkContext
        jvm: Any = context._jvm
        at = jvm.org.apache.hadoop.fs.Path(path)
        return at.getFileSystem(context._jsc.hadoopConfiguration()), at
