"""The code for executors on other machines: everything that is installed of millrace, as one archive.

What else tasks import (pyarrow, numpy, pydantic, the stores' clients) must be there: in the Python that PYSPARK_PYTHON
names on every node, or in an environment that `spark.archives` brings.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path

from millrace.jobs.cache import cache_folder, sweep, unfinished, used

_SHIPPED = (".py", ".json")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # so that equal code makes equal archives


def code_archive() -> Path:
    """A zip archive of the package `millrace` as it is imported here, made when there is none yet of this code."""
    files = dict(sorted(_files()))
    digest = hashlib.sha256()
    for name, path in files.items():
        digest.update(f"{name}\0".encode() + path.read_bytes())
    archive = cache_folder() / f"millrace-{digest.hexdigest()[:16]}.zip"
    if not archive.exists():
        _write(unfinished(archive), files)
        unfinished(archive).replace(archive)
        sweep()
    return used(archive)


def _files() -> Iterator[tuple[str, Path]]:
    """Name in the archive and path of every file. `millrace` is a namespace: it may lie in several folders."""
    import millrace

    for root in map(Path, millrace.__path__):
        for path in root.rglob("*"):
            if path.suffix in _SHIPPED and path.is_file():
                yield f"millrace/{path.relative_to(root)}", path


def _write(archive: Path, files: dict[str, Path]) -> None:
    """Folders have entries of their own: a namespace package in an archive is found by them alone."""
    folders = {f"{parent}/" for name in files for parent in Path(name).parents if str(parent) != "."}
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        for folder in sorted(folders):
            out.writestr(zipfile.ZipInfo(folder, _EPOCH), b"")
        for name, path in files.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            out.writestr(entry, path.read_bytes())
