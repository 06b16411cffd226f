"""The folder of what can be made again: archives of Spark's classes and of our code. What nobody uses any more goes.

Several installations and runs may share it. An archive gets its name when it is whole, and its time tells when it was
last used. It is kept for a week from then on: a run that ships one ends earlier, a JVM that maps one has it for good.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

_KEPT_S = 7 * 86_400.0
_UNFINISHED_S = 3_600.0  # what takes longer than this to make was left by a process that died
_OUTDATED = {
    "spark-*.jsa": _KEPT_S,
    "millrace-*.zip": _KEPT_S,
    "spark-*.jsa.*": _UNFINISHED_S,
    "millrace-*.zip.*": _UNFINISHED_S,
    "unsigned/*.jar.*": _UNFINISHED_S,
}


def cache_folder() -> Path:
    """MILLRACE_CACHE, or ~/.cache/millrace."""
    return Path(os.environ.get("MILLRACE_CACHE") or Path.home() / ".cache" / "millrace")


def unfinished(path: Path) -> Path:
    """Where this process writes what becomes `path` when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f"{path.name}.{os.getpid()}")


def used(path: Path) -> Path:
    """The same path, which is used now."""
    with contextlib.suppress(OSError):  # of an image that can't be written to, where nothing is swept either
        os.utime(path)
    return path


def sweep() -> None:
    """Erase what was not used for a week, and what was left unfinished."""
    now = time.time()
    for pattern, kept_s in _OUTDATED.items():
        for path in cache_folder().glob(pattern):
            with contextlib.suppress(FileNotFoundError):  # another process sweeps too
                if now - path.stat().st_mtime > kept_s:
                    path.unlink()
