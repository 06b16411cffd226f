"""The wheel: whole, and each of its parts works with the packages of its own extra and no others."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from hatch_build import module_name
from tests.test_style import ROOT, project_files

_SITE_PACKAGES = Path(pytest.__file__).resolve().parent.parent

#: Runs in a bare interpreter: `argv` is the wheel's folder, site-packages, the names that can't be imported, the code.
_IN_ISOLATION = """
import json, sys
from importlib.abc import MetaPathFinder

wheel, packages, absent, code = sys.argv[1:]
absent = set(json.loads(absent))

class OnlyTheExtra(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named '{name}' (not in this extra)", name=name)

sys.meta_path.insert(0, OnlyTheExtra())
sys.path[:0] = [wheel]
sys.path.append(packages)
exec(code)
"""
_IMPORT_PART = """
import importlib, pkgutil
for part in {parts!r}:
    module = importlib.import_module(part)
    assert module.__spec__.origin is None or module.__spec__.origin.startswith(wheel), module
    for found in pkgutil.walk_packages(getattr(module, "__path__", []), part + "."):
        if not found.name.endswith({entry_scripts!r}):
            importlib.import_module(found.name)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an installed wheel that was built from this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    build = f"from hatchling.build import build_wheel; print(build_wheel({str(folder)!r}))"
    built = subprocess.run([sys.executable, "-c", build], cwd=ROOT, check=True, capture_output=True, text=True)
    with zipfile.ZipFile(folder / built.stdout.split()[-1]) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


def _requirements(name: str, extras: Sequence[str]) -> Iterator[Requirement]:
    for text in distribution(name).requires or ():
        requirement = Requirement(text)
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in ["", *extras]):
            yield requirement


def _closure(extras: Sequence[str]) -> set[str]:
    """The names of all distributions that `pip install millrace[extras]` brings."""
    found: set[tuple[str, tuple[str, ...]]] = set()
    waiting: list[tuple[str, tuple[str, ...]]] = [("millrace", tuple(extras))]
    while waiting:
        name, its_extras = waiting.pop()
        if (name, its_extras) not in found:
            found.add((name, its_extras))
            waiting += [(_plain(r.name), tuple(sorted(r.extras))) for r in _requirements(name, its_extras)]
    return {name for name, _ in found}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _run_with(wheel: Path, extras: Sequence[str], code: str) -> str:
    closure = _closure(extras)
    absent = [
        name
        for name, owners in packages_distributions().items()
        if name != "millrace" and not any(_plain(owner) in closure for owner in owners)
    ]
    command = [sys.executable, "-I", "-S", "-c", _IN_ISOLATION, str(wheel), str(_SITE_PACKAGES), json.dumps(absent)]
    done = subprocess.run([*command, code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"with the extras {list(extras)}:\n{done.stderr}"
    return done.stdout


def test_the_wheel_holds_every_file_of_every_root(wheel: Path) -> None:
    expected = {
        path.relative_to(ROOT).as_posix().partition("/")[2]
        for path in project_files()
        if path.relative_to(ROOT).parts[1:2] == ("millrace",)
    }
    held = {path.relative_to(wheel).as_posix() for path in (wheel / "millrace").rglob("*") if path.is_file()}
    assert held - {f"millrace/connectors/wire/{module_name()}"} == expected  # which is compiled where it can be


def test_the_wheel_announces_its_connectors_and_its_command(wheel: Path) -> None:
    (entry_points,) = wheel.glob("millrace-*.dist-info/entry_points.txt")
    text = entry_points.read_text()
    for name in ("clickhouse", "druid", "hbase", "kafka", "lake", "log", "mysql", "redis"):
        assert f"{name} = millrace.connectors.{name}:connector" in text
    assert "millrace = millrace.cli.main:main" in text


@pytest.mark.parametrize(
    ("extras", "parts"),
    [
        pytest.param([], ["millrace.errors", "millrace.spec", "millrace.catalog", "millrace.cli"], id="none"),
        pytest.param(["serving"], ["millrace.serving"], id="serving"),
        pytest.param(["jobs"], ["millrace.connectors", "millrace.jobs", "millrace.cli"], id="jobs"),
        pytest.param(["jobs", "quality"], ["millrace.quality"], id="quality"),
        pytest.param(["airflow", "jobs"], ["millrace.dags"], id="airflow"),
    ],
)
def test_a_part_imports_with_its_extra_alone(
    wheel: Path, extras: list[str], parts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    _run_with(wheel, extras, _IMPORT_PART.format(parts=parts, entry_scripts=("migrations.env", "__main__")))


def test_connectors_are_known_without_their_drivers(wheel: Path) -> None:
    code = """
from millrace.spec.connector import connectors
print(*connectors())
"""
    assert "redis" in _run_with(wheel, [], code).split()


def test_readers_import_with_the_serving_extra_alone(wheel: Path) -> None:
    code = """
from millrace.spec.connector import connectors, implementation
for connector in connectors().values():
    if connector.target is not None and connector.target.reader is not None:
        print(implementation(connector.target.reader, connector.name).__name__)
"""
    assert len(_run_with(wheel, ["serving"], code).split()) >= 1


def test_the_command_answers_without_any_extra(wheel: Path) -> None:
    code = """
sys.argv[:] = ["millrace", "--help"]
from millrace.cli.main import main
main()
"""
    assert "validate" in _run_with(wheel, [], code)


def test_serving_stays_thin_where_everything_is_installed() -> None:
    code = "import sys, millrace.serving; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    heavy = {"pyspark", "airflow", "great_expectations", "pandas"}
    assert not heavy & set(done.stdout.split())
