"""A folder that Spark's workers write to and a store reads from: by pyarrow, on local disks, HDFS, S3 and others."""

from __future__ import annotations

import re
from typing import Any

from millrace.errors import ConfigError, TransientError


class StagingFolder:
    """The files of one load, in `{url}/{name}`. Its methods raise TransientError for what the file system refuses.

    Raises ConfigError for a URL that names no file system.
    """

    def __init__(self, url: str, name: str) -> None:
        from pyarrow import fs

        make: Any = fs.FileSystem.from_uri
        try:
            self._system, root = make(re.sub(r"^s3[an]:", "s3:", url))
        except ValueError as error:
            raise ConfigError(f"the staging folder {url}: {error}", hint="e.g. s3://bucket/millrace") from error
        self._folder = f"{root.rstrip('/')}/{name}"
        self.url = f"{url}/{name}"

    def create(self, path: str) -> Any:
        """A stream to write a file by; its folder is made when there is none."""
        name = f"{self._folder}/{path}"
        try:
            self._system.create_dir(name.rpartition("/")[0], recursive=True)
            return self._system.open_output_stream(name, buffer_size=1 << 20, compression=None)
        except OSError as error:
            raise self.failed("writing to", error) from error

    def move(self, path: str, to: str) -> None:
        """In one step, onto a file that is there already, too."""
        try:
            self._system.move(f"{self._folder}/{path}", f"{self._folder}/{to}")
        except OSError as error:
            raise self.failed("writing to", error) from error

    def read(self, path: str) -> bytes:
        try:
            with self._system.open_input_stream(f"{self._folder}/{path}", compression=None) as stream:
                data: bytes = stream.read()
                return data
        except OSError as error:
            raise self.failed("reading from", error) from error

    def files(self) -> list[str]:
        """The paths of all files, in order; none when there is no folder."""
        from pyarrow import fs

        try:
            found = self._system.get_file_info(fs.FileSelector(self._folder, allow_not_found=True, recursive=True))
        except OSError as error:
            raise self.failed("looking at", error) from error
        return sorted(info.path[len(self._folder) + 1 :] for info in found if info.is_file)

    def remove(self) -> None:
        """No error when there is no such folder."""
        from pyarrow import fs

        try:
            if self._system.get_file_info(self._folder).type != fs.FileType.NotFound:
                self._system.delete_dir(self._folder)
        except OSError as error:
            raise self.failed("removing", error) from error

    def failed(self, doing: str, error: OSError) -> TransientError:
        """What to raise for an error of the file system."""
        return TransientError(
            f"{doing} {self.url}: {error}",
            hint="`staging` of the connection must be a folder that Spark's workers may write to",
        )
