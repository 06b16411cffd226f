"""The DAG files of a bundle: one a spec, harmless whatever spec and path hold, touched only when they change."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from millrace.dags.layout import DagFile, dag_files, lay_out, spec_files
from millrace.dags.outlines import Outlines
from millrace.errors import ConfigError
from tests.dags.test_outlines import SPEC

KEPT = Path("kept")


def written(folder: Path, name: str, text: str = SPEC) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def call_of(file: DagFile) -> list[object]:
    """The arguments of the one call that a DAG file makes; anything else in it fails the test."""
    source, dag = ast.parse(file.text).body
    assert isinstance(source, ast.ImportFrom)
    assert isinstance(dag, ast.Assign)
    assert isinstance(dag.value, ast.Call)
    return [ast.literal_eval(a) for a in [*dag.value.args, *(k.value for k in dag.value.keywords)]]


def test_each_spec_has_a_file_of_its_own_that_airflow_takes_for_one_of_a_dag(tmp_path: Path) -> None:
    first, second = written(tmp_path, "plays.yaml"), written(tmp_path, "growth/users.yml")
    files = dag_files([tmp_path], {}, KEPT, Path("airflow.yaml"))
    assert [(str(f.path), call_of(f)) for f in files] == [
        ("plays.py", [str(first), "kept", "airflow.yaml"]),
        ("growth/users_yml.py", [str(second), "kept", "airflow.yaml"]),
    ]
    assert all("airflow" in f.text and "dag" in f.text for f in files), "Airflow looks for these words"


@pytest.mark.parametrize(
    "name",
    [
        "quote'\".yaml",
        "new\nline.yaml",
        "{{ ds }}.yaml",
        "$(touch x); rm -rf *.yaml",
        "über.yaml",
        "a b/c d.yaml",
        "{}.yaml",
    ],
)
def test_names_of_specs_are_data_in_it(tmp_path: Path, name: str) -> None:
    spec = written(tmp_path, name)
    (file,) = dag_files([tmp_path], {}, KEPT, None)
    assert call_of(file) == [str(spec), "kept", None]
    assert str(file.path).isascii()
    assert str(file.path).replace("/", "").replace("_", "").replace(".py", "").replace("-", "").isalnum()


@pytest.mark.parametrize(
    "text",
    [
        'description: "\n\n"\n"""\nimport os',
        "a\rimport os\r",
        "x\x0c\nimport os\u2028import os\x85import os\x0bimport os",
        "# -*- coding: utf-7 -*-\n+AGkAbQBwAG8AcgB0-",
        "{spec} {0} {outlines!r}",
        "\x00\x1b[31m\u202e",
    ],
)
def test_the_text_of_a_spec_is_only_comments_in_it(tmp_path: Path, text: str) -> None:
    spec = tmp_path / "hostile.yaml"
    spec.write_bytes(text.encode())
    (file,) = dag_files([tmp_path], {}, KEPT, None)
    assert call_of(file) == [str(spec), "kept", None]
    assert all(c.isprintable() or c == "\n" for c in file.text)


def test_a_huge_spec_is_not_copied_into_it(tmp_path: Path) -> None:
    written(tmp_path, "huge.yaml", "x" * 10_000_000)
    (file,) = dag_files([tmp_path], {}, KEPT, None)
    assert len(file.text) < 1000


def test_of_two_specs_of_one_asset_the_first_keeps_its_dag(tmp_path: Path) -> None:
    one, other = written(tmp_path, "a.yaml"), written(tmp_path, "b.yaml")
    outlines = Outlines(tmp_path / "kept")
    first, second = dag_files([tmp_path], {p: outlines.of(p) for p in (one, other)}, KEPT, None)
    assert call_of(first)[0] == str(one)
    with pytest.raises(Exception, match=r"is already declared by .*/a\.yaml"):
        exec(compile(second.text, "b.py", "exec"), {})


def test_files_of_several_folders_never_meet(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        written(folder, "plays.yaml")
    assert [str(f.path) for f in dag_files(folders, {}, KEPT, None)] == ["plays.py", "2/plays.py"]


def test_hidden_files_are_no_specs(tmp_path: Path) -> None:
    for name in (".hidden.yaml", ".git/config.yaml", "notes.txt", "plays.yaml.bak"):
        written(tmp_path, name)
    assert list(spec_files([tmp_path])) == []


def test_a_folder_that_is_not_there_is_an_error_and_no_empty_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not there"):
        list(spec_files([tmp_path / "unmounted"]))


def test_only_files_that_change_are_touched_and_others_go_away(tmp_path: Path) -> None:
    place = tmp_path / "dags"
    lay_out([DagFile(Path("a.py"), "a"), DagFile(Path("x/b.py"), "b"), DagFile(Path("c.py"), "c")], place)
    untouched = (place / "a.py").stat()
    lay_out([DagFile(Path("a.py"), "a"), DagFile(Path("x/b.py"), "new")], place)
    assert (place / "a.py").stat().st_mtime_ns == untouched.st_mtime_ns
    assert (place / "a.py").stat().st_ino == untouched.st_ino
    assert (place / "x/b.py").read_text() == "new"
    assert not (place / "c.py").exists()


def test_a_worker_only_adds_what_is_missing(tmp_path: Path) -> None:
    place = tmp_path / "dags"
    lay_out([DagFile(Path("a.py"), "a"), DagFile(Path("gone.py"), "gone")], place)
    lay_out([DagFile(Path("a.py"), "other"), DagFile(Path("b.py"), "b")], place, missing_only=True)
    assert {p.name: p.read_text() for p in place.glob("*.py")} == {"a.py": "a", "gone.py": "gone", "b.py": "b"}
