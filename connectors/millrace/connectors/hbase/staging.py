"""The folder of HBase's own file system where tasks put files: by pyarrow, on local disks, HDFS, S3 and others."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from millrace.errors import TransientError

if TYPE_CHECKING:
    from millrace.connectors.hbase.layout import Manifest


class Staging:
    """The files of one load: `{staging}/{table}.{stamp}/{family}/{name}`.

    A file is written under a name that starts with `_`, which HBase passes over, and gets its own when it is whole.
    """

    def __init__(self, url: str, manifest: Manifest) -> None:
        from pyarrow import fs

        make: Any = fs.FileSystem.from_uri
        self._system, root = make(re.sub(r"^s3[an]:", "s3:", url))
        folder = f"{manifest.table.replace(':', '.')}.{manifest.stamp_ms}"
        self._folder = f"{root.rstrip('/')}/{folder}"
        self.url = f"{url}/{folder}"

    def create(self, family: str, name: str) -> Any:
        """A stream to write a file by; the folder is made when there is none."""
        try:
            self._system.create_dir(f"{self._folder}/{family}", recursive=True)
            return self._system.open_output_stream(f"{self._folder}/{family}/_{name}", buffer_size=1 << 20)
        except OSError as error:
            raise self._failed("writing to", error) from error

    def finish(self, family: str, name: str) -> None:
        """The file is whole."""
        try:
            self._system.move(f"{self._folder}/{family}/_{name}", f"{self._folder}/{family}/{name}")
        except OSError as error:
            raise self._failed("writing to", error) from error

    def holds_files(self) -> bool:
        """Whether any file is whole."""
        from pyarrow import fs

        try:
            found = self._system.get_file_info(fs.FileSelector(self._folder, allow_not_found=True, recursive=True))
        except OSError as error:
            raise self._failed("looking at", error) from error
        return any(info.is_file and not info.base_name.startswith("_") for info in found)

    def remove(self) -> None:
        """No error when there is no such folder."""
        from pyarrow import fs

        try:
            if self._system.get_file_info(self._folder).type != fs.FileType.NotFound:
                self._system.delete_dir(self._folder)
        except OSError as error:
            raise self._failed("removing", error) from error

    def _failed(self, doing: str, error: OSError) -> TransientError:
        return TransientError(
            f"{doing} {self.url}: {error}",
            hint="`staging` of the connection must be a folder that Spark's workers may write to",
        )
