"""The folder of HBase's own file system where tasks put files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from millrace.connectors.staging import StagingFolder

if TYPE_CHECKING:
    from millrace.connectors.hbase.layout import Manifest


class Staging:
    """The files of one load: `{staging}/{table}.{stamp}/{family}/{name}`.

    A file is written under a name that starts with `_`, which HBase passes over, and gets its own when it is whole.
    """

    def __init__(self, url: str, manifest: Manifest) -> None:
        self._folder = StagingFolder(url, f"{manifest.table.replace(':', '.')}.{manifest.stamp_ms}")
        self.url = self._folder.url

    def create(self, family: str, name: str) -> Any:
        """A stream to write a file by; the folder is made when there is none."""
        return self._folder.create(f"{family}/_{name}")

    def finish(self, family: str, name: str) -> None:
        """The file is whole."""
        self._folder.move(f"{family}/_{name}", f"{family}/{name}")

    def holds_files(self) -> bool:
        """Whether any file is whole."""
        return any(not path.rpartition("/")[2].startswith("_") for path in self._folder.files())

    def remove(self) -> None:
        """No error when there is no such folder."""
        self._folder.remove()
