"""Folders between Spark's workers and a store, on a disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace.connectors.staging import StagingFolder
from millrace.errors import ConfigError, TransientError


def test_files_are_written_moved_onto_others_listed_and_removed(tmp_path: Path) -> None:
    folder = StagingFolder(f"file://{tmp_path}", "users__v1")
    assert folder.files() == []
    folder.remove()
    for text in (b"first", b"second"):
        with folder.create("draft") as stream:
            stream.write(text)
        folder.move("draft", "list")
    assert (folder.files(), folder.read("list")) == (["list"], b"second")
    with pytest.raises(TransientError, match=r"reading from file:///.*users__v1"):
        folder.read("nothing")
    folder.remove()
    assert folder.files() == []


def test_a_url_that_names_no_file_system_is_told() -> None:
    for url in ("s3://bucket/mill race", "ftp://host/folder", "nowhere"):
        with pytest.raises(ConfigError, match=url):
            StagingFolder(url, "users__v1")
