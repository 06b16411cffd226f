"""What lies in the cache for the next run, and what goes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from millrace.jobs import cache
from millrace.jobs.shipping import code_archive

HOUR_S = 3600.0


def laid(folder: Path, name: str, hours_ago: float) -> str:
    """A file that was last used so long ago; its name."""
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    then = time.time() - hours_ago * HOUR_S
    os.utime(path, (then, then))
    return name


def test_a_new_archive_sweeps_away_what_nobody_uses_and_what_was_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILLRACE_CACHE", str(tmp_path))
    for name in ("spark-1.jsa", "millrace-1.zip"):
        laid(tmp_path, name, 24 * 8)
    for name in ("spark-1.jsa.4711", "millrace-1.zip.4711", "unsigned/janino-1.jar.4711"):
        laid(tmp_path, name, 2)
    kept = {laid(tmp_path, name, 24 * 6) for name in ("spark-2.jsa", "millrace-2.zip")}
    kept |= {laid(tmp_path, name, 0.1) for name in ("spark-3.jsa.42", "millrace-3.zip.42")}
    kept |= {laid(tmp_path, name, 24 * 365) for name in ("truststore.p12", "unsigned/janino-1.jar")}
    made = code_archive()
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {*kept, made.name}


def test_what_is_used_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_CACHE", str(tmp_path))
    made = code_archive()
    laid(tmp_path, made.name, 24 * 30)
    assert code_archive() == made
    cache.sweep()
    assert made.exists()
