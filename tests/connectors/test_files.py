"""Which files paths and wildcards name."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest

from millrace.connectors.files import FileInfo, is_local, list_files
from millrace.errors import SourceError


def no_spark() -> NoReturn:
    raise AssertionError("local files need no Spark")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.log", "b.log", "b.log.gz", ".hidden.log", "_tmp.log", "sub/c.log", "sub/deep/d.log", "x{y}.log"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["*.log"], ["a.log", "b.log", "x{y}.log"]),
        (["{a,b}.log"], ["a.log", "b.log"]),
        (["?.log*"], ["a.log", "b.log", "b.log.gz"]),
        (["[b-z].log"], ["b.log"]),
        (["**/?.log"], ["a.log", "b.log", "sub/c.log", "sub/deep/d.log"]),
        (["a.log", "*.log"], ["a.log", "b.log", "x{y}.log"]),
        ([""], ["a.log", "b.log", "b.log.gz", "x{y}.log"]),
        ([".hidden.log"], [".hidden.log"]),
        (["_*.log"], ["_tmp.log"]),
        (["s*/*.log"], ["sub/c.log"]),
    ],
)
def test_wildcards_name_files_and_a_folder_names_what_is_in_it(
    folder: Path, patterns: list[str], names: list[str]
) -> None:
    found = list_files([f"{folder}/{pattern}" for pattern in patterns], no_spark)
    assert [file.path for file in found] == sorted(f"{folder}/{name}" for name in names)


def test_a_file_url_is_a_local_path(folder: Path) -> None:
    for prefix in ("file:", "file://", "FILE://"):
        assert [f.path for f in list_files([f"{prefix}{folder}/a.log"], no_spark)] == [f"{folder}/a.log"]
    assert [is_local(p) for p in ("/a", "a:b", "file:/a", "s3a://b/c", "hdfs:///x")] == [True, True, True, False, False]


def test_a_listed_file_has_its_identity_and_keeps_it_as_json(folder: Path) -> None:
    (found,) = list_files([f"{folder}/a.log"], no_spark)
    assert (found.size, found.inode) == (5, (folder / "a.log").stat().st_ino)
    assert found.modified_us == (folder / "a.log").stat().st_mtime_ns // 1000
    assert FileInfo.from_json(found.to_json()) == found


def test_no_match_is_an_error_that_says_what_there_is(folder: Path) -> None:
    with pytest.raises(SourceError, match=r"no file matches .*/\*\.txt") as caught:
        list_files([f"{folder}/*.log", f"{folder}/*.txt"], no_spark)
    assert f"{folder} holds .hidden.log, _tmp.log, a.log, b.log, b.log.gz and 2 more" in caught.value.hint
    with pytest.raises(SourceError, match="no file matches") as caught:
        list_files([f"{folder}/no/such/*.log"], no_spark)
    assert f"{folder} holds" in caught.value.hint
    assert list_files([f"{folder}/*.txt"], no_spark, allow_empty=True) == ()
