"""What the house style asks for and no linter checks. Each failure lists every place."""

from __future__ import annotations

import ast
import os
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60
VAGUE_NAMES = re.compile(r"_*(utils?|helpers?|common|managers?|misc)", re.IGNORECASE)
# Put together from parts, so that this file doesn't hold what it looks for.
UNREASONED_IGNORES = {
    "a type error is ignored without its code and a reason": r"#\s*type:\s*ignore(?!\[[a-z, -]+\]\s*\S)",
    "a lint finding is ignored without its code and a reason": r"#\s*noqa(?!:\s*[A-Z]+\d+(,\s*[A-Z]+\d+)*\s+\S)",
    "a whole file is ignored": r"#\s*(ruff|mypy|flake8)\s*:\s*(noqa|ignore-errors|disable)",
}
UNFINISHED = {
    "unfinished work": r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b",
    "a test that is skipped": r"\bpytest\.(skip|importorskip|mark\.skip)" r"|unittest\.skip",
}
PRIVATE_PLACES = {
    "a path of one machine": r"(?<![\w.{}>/*-])/(work|root|home/\w+|Users/\w+)/[\w.]",
    "an address of a package index": r"(?i)--(extra-)?index-url|--find-links|/simple/?(?=[\"'\s]|$)|<repositor",
    "a login in a URL": r"https?://[^/\s:@\"'{}$<>]+:[^/\s@\"'{}$<>]+@",
}
CODE_FOLDERS = ("core", "connectors", "quality", "jobs", "serving", "dags", "cli", "tests", "benchmarks", "scripts")


@cache
def project_files() -> tuple[Path, ...]:
    """Every file of the project: all but what .gitignore names."""
    ignored = [line.strip() for line in (ROOT / ".gitignore").read_text().splitlines()]
    folders = {".git", *(line.rstrip("/") for line in ignored if line.endswith("/"))}
    suffixes = tuple(line.removeprefix("*") for line in ignored if line.startswith("*."))
    found = []
    for place, inside, names in os.walk(ROOT):
        inside[:] = sorted(set(inside) - folders)
        found += [Path(place, name) for name in sorted(names) if not name.endswith(suffixes)]
    return tuple(found)


def python_files() -> list[Path]:
    return [path for path in project_files() if path.suffix == ".py"]


def text_files() -> Iterator[tuple[Path, str]]:
    for path in project_files():
        try:
            yield path, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # test data in other encodings and formats


def is_script(path: Path) -> bool:
    return path.parts[len(ROOT.parts)] in CODE_FOLDERS and path.suffix in {"", ".py", ".sh"}


def found_in(text: str, patterns: dict[str, str]) -> Iterator[tuple[int, str]]:
    for what, pattern in patterns.items():
        for match in re.finditer(pattern, text, re.MULTILINE):
            yield text.count("\n", 0, match.start()) + 1, f"{what}: {match.group().strip()}"


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def report(findings: list[str]) -> str:
    return "\n" + "\n".join(findings)


def test_no_file_is_longer_than_one_sitting() -> None:
    lengths = {path: text.count("\n") for path, text in text_files() if is_script(path)}
    findings = [
        f"{relative(path)}: {lines} lines, of at most {MAX_FILE_LINES}"
        for path, lines in lengths.items()
        if lines > MAX_FILE_LINES
    ]
    assert not findings, report(findings)


def test_no_function_is_longer_than_one_screen() -> None:
    findings = [
        f"{relative(path)}:{node.lineno}: {node.name} has {lines} lines, of at most {MAX_FUNCTION_LINES}"
        for path in python_files()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > MAX_FUNCTION_LINES
    ]
    assert not findings, report(findings)


def test_names_of_modules_say_what_is_in_them() -> None:
    findings = [
        relative(path)
        for path in python_files()
        if any(VAGUE_NAMES.fullmatch(part) for part in path.relative_to(ROOT).with_suffix("").parts)
    ]
    assert not findings, report(findings)


@pytest.mark.parametrize("patterns", [UNREASONED_IGNORES, UNFINISHED], ids=["ignores", "unfinished"])
def test_code_hides_nothing(patterns: dict[str, str]) -> None:
    findings = [
        f"{relative(path)}:{line}: {what}"
        for path, text in text_files()
        if is_script(path) and path != Path(__file__)
        for line, what in found_in(text, patterns)
    ]
    assert not findings, report(findings)


def test_no_tool_is_told_to_look_away() -> None:
    mypy = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    allowed = {"module", "ignore_missing_imports"}
    findings = [str(override) for override in mypy.get("overrides", []) if set(override) - allowed]
    assert mypy["strict"] is True
    assert "ignore_errors" not in mypy
    assert not findings, report(findings)


def test_files_name_no_machine_and_no_registry() -> None:
    findings = [
        f"{relative(path)}:{line}: {what}"
        for path, text in text_files()
        if path != Path(__file__)
        for line, what in found_in(text, PRIVATE_PLACES)
    ]
    assert not findings, report(findings)


def test_locks_hold_hashes_and_no_addresses() -> None:
    for lock in sorted((ROOT / "requirements").glob("*.txt")):
        text = lock.read_text()
        assert "://" not in text, f"{lock.name} holds an address"
        without_hashes = [line for line in text.splitlines() if not line.startswith(" ") and not line.endswith("\\")]
        assert not without_hashes, f"{lock.name}: {without_hashes}"


def test_millrace_is_one_namespace_over_the_roots() -> None:
    built = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    roots = [ROOT / root for root in built["dev-mode-dirs"]]
    assert [str(root.relative_to(ROOT) / "millrace") for root in roots] == built["targets"]["wheel"]["packages"]
    assert not (ROOT / "__init__.py").exists(), "the checkout is no package"
    for root in roots:
        assert not (root / "millrace" / "__init__.py").exists(), f"{root.name} would hide the other roots"
        assert {path.parts[len(root.parts)] for path in project_files() if path.is_relative_to(root)} == {"millrace"}
