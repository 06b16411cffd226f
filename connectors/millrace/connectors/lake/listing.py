"""The files below a lake's path, folder by folder; folders of unwanted partitions aren't looked into."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from millrace.connectors.files import FileInfo, HadoopReader, is_local, local_file, local_patterns, plain_path
from millrace.connectors.lake.partitions import is_wanted
from millrace.errors import SourceError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def lake_files(path: str, wanted: Mapping[str, str], spark: Callable[[], SparkSession]) -> list[FileInfo]:
    """The files with content below a path, in order; those whose names start with _ or . are left out."""
    if is_local(path):
        found = [file for pattern in local_patterns(path) for file in _local(pattern, wanted)]
    else:
        found = list(HadoopReader(spark()).below(path, lambda name: _visible(name) and is_wanted(name, wanted)))
    return sorted({file.path: file for file in found if file.size}.values(), key=lambda file: file.path)


def _local(pattern: str, wanted: Mapping[str, str]) -> Iterator[FileInfo]:
    for place in glob.glob(pattern, recursive=True):
        if os.path.isfile(place):
            yield local_file(os.path.abspath(place))
            continue
        for folder, folders, names in os.walk(os.path.abspath(place), onerror=_refuse):
            folders[:] = sorted(name for name in folders if _visible(name) and is_wanted(name, wanted))
            yield from (local_file(os.path.join(folder, name)) for name in names if _visible(name))


def _visible(name: str) -> bool:
    return not name.startswith(("_", ".")) or "=" in name


def _refuse(error: OSError) -> None:
    raise SourceError(
        f"listing {error.filename}: {error.strerror}", hint="let this user read the folder, or correct `path`"
    ) from error


def what_there_is(path: str) -> str:
    """What to say of a path that names no file."""
    advice = "correct `path` or `partitions`, or set `allow_empty: true` if that is to be expected"
    if not is_local(path):
        return advice
    folder = os.path.abspath(plain_path(path))
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    names = sorted(os.listdir(folder))
    return f"{folder} holds {', '.join(names[:5]) or 'nothing'}{' and more' if len(names) > 5 else ''}; {advice}"
