"""The task's side of a load: Arrow batches as files of JSON lines in the connection's staging folder.

Each attempt of a task writes files of its own, and at its end one small file under the task's name that lists them: the
attempt that wrote it last counts, whole. `DruidTarget.seal` reads these lists and has Druid take the files in.
"""

from __future__ import annotations

import json
import uuid
import zlib
from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from millrace.connectors.base import Loaded
from millrace.connectors.druid.endpoint import Endpoint
from millrace.connectors.druid.layout import FILE_BYTES, Staged
from millrace.connectors.druid.link import Link
from millrace.connectors.staging import StagingFolder
from millrace.spec.types import Column

if TYPE_CHECKING:
    import pyarrow as pa

_LIST = ".list.json"
_GZIP = 31  # zlib's window bits for a gzip member


class DruidLoader:
    """Writes the rows of one version; see `millrace.connectors.base.Loader`."""

    def __init__(self, endpoint: Endpoint, name: str, columns: Sequence[Column], timestamp: str | None) -> None:
        self._endpoint, self._url = endpoint, endpoint.staging
        self._name, self._columns, self._timestamp = name, tuple(columns), timestamp
        self._folder: StagingFolder | None = None
        self._file: _File | None = None
        self._attempt = ""
        self._done: list[_File] = []

    def open(self) -> None:
        self._folder = StagingFolder(self._url, self._name)
        self._attempt, self._file, self._done = uuid.uuid4().hex, None, []

    def load(self, batch: pa.RecordBatch) -> Loaded:
        """Encode by column and write; what is in the file counts as confirmed: `seal` has Druid count it again."""
        from millrace.connectors.druid.encode import encode

        lines = encode(batch, self._columns, self._timestamp)
        if lines.rows:
            self._opened().write(lines.text, lines.rows, lines.first_ms, lines.last_ms)
            if self._file is not None and self._file.size >= FILE_BYTES:
                self._end_file()
        return Loaded(lines.rows, len(lines.text), lines.dirty)

    def finish(self) -> Loaded:
        """Close the last file, and let this attempt be the one that counts.

        Raises TransientError when Druid, which is to read the files next, is away: other tasks then needn't go on.
        """
        assert self._folder is not None, "open() comes first"
        self._end_file()
        with closing(Link(self._endpoint)) as link:
            link.get(f"loading {self._name}", "/status/health")
        listed = [
            {"file": f.name, "rows": f.rows, "size": f.size, "first": f.first_ms, "last": f.last_ms} for f in self._done
        ]
        draft = f"{self._attempt}.draft"
        with self._folder.create(draft) as stream:
            stream.write(json.dumps(listed).encode())
        self._folder.move(draft, f"{_task()}{_LIST}")
        return Loaded()

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.stream.close()
        self._folder = None

    def _opened(self) -> _File:
        if self._file is None:
            assert self._folder is not None, "open() comes first"
            zipped = not self._url.startswith("file://")
            name = f"{_task()}.{self._attempt}.{len(self._done)}.json{'.gz' if zipped else ''}"
            self._file = _File(name, self._folder.create(name), zipped)
        return self._file

    def _end_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.end()
            self._done.append(file)


class _File:
    """One file that is being written. On a network it is compressed: that costs less than sending it."""

    def __init__(self, name: str, stream: Any, zipped: bool) -> None:
        self.name, self.stream = name, stream
        self.rows = self.size = 0
        self.first_ms, self.last_ms = 0, 0
        self._zip = zlib.compressobj(1, zlib.DEFLATED, _GZIP) if zipped else None

    def write(self, text: bytes, rows: int, first_ms: int, last_ms: int) -> None:
        self.first_ms = min(first_ms, self.first_ms) if self.rows else first_ms
        self.last_ms = max(last_ms, self.last_ms) if self.rows else last_ms
        self.rows += rows
        self.size += len(text)
        self.stream.write(text if self._zip is None else self._zip.compress(text))

    def end(self) -> None:
        if self._zip is not None:
            self.stream.write(self._zip.flush())
        self.stream.close()


def staged(folder: StagingFolder) -> Staged:
    """What the attempts that count have written."""
    found: list[dict[str, Any]] = []
    for path in folder.files():
        if path.endswith(_LIST):
            found += json.loads(folder.read(path))
    return Staged(
        tuple(one["file"] for one in found),
        sum(one["rows"] for one in found),
        sum(one["size"] for one in found),
        _first(min, (one["first"] for one in found)),
        _first(max, (one["last"] for one in found)),
    )


def _first(choose: Any, values: Iterable[int]) -> int:
    return int(choose(values, default=0))


def _task() -> str:
    """The name of the Spark task that we are in, the same in each of its attempts; outside of Spark, one of its own."""
    from pyspark import TaskContext

    context = TaskContext.get()
    return uuid.uuid4().hex if context is None else str(context.partitionId())
