"""The documentation says what is so: every example is run or validated, every message, command and link is there.

How a page is written so that this can be tested stands in docs/contributing.md.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from benchmarks.data import access_log
from millrace.cli.app import app
from millrace.cli.reference import command_reference, connector_reference
from millrace.errors import SpecError
from millrace.spec import parse_spec
from millrace.spec.connection import resolve
from millrace.spec.reference import MARK, spec_reference
from millrace.spec.schema import json_schema
from tests.conformance.support import support_reference
from tests.docs.expected import examples, match
from tests.docs.messages import is_printed
from tests.docs.pages import ROOT, Block, Page, pages
from tests.docs.reader import Reader, environment

PAGES = {page.name: page for page in pages()}
DONE = ("console", "sh", "python", "sql")
KINDS = {*DONE, "yaml", "text"}
#: Pages whose programs need more than a folder, and the tests that run them.
RUN_ELSEWHERE = {
    "docs/checks.md": "tests/quality/test_documentation.py",
    "docs/clickhouse.md": "tests/connectors/clickhouse/test_docs.py",
    "docs/druid.md": "tests/connectors/druid/test_docs.py",
    "docs/hbase.md": "tests/connectors/hbase/test_docs.py",
    "docs/kafka.md": "tests/connectors/kafka/test_docs.py",
    "docs/redis.md": "tests/connectors/redis/test_docs.py",
    "docs/servers.md": "tests/servers/test_standing.py",
}
#: What a page finds in its folder.
GIVEN: Mapping[str, Callable[[Path], object]] = {
    "README.md": lambda folder: access_log(folder / "logs/access.log", 20_000, seed=1, bad=0.0001, hosts=500),
}
#: A whole spec but for the sections that a fragment brings; the second one for fragments on keys.
WHOLE = (
    {
        "version": "version: 1",
        "asset": "asset: example",
        "source": "source:\n  mysql: {connection: mysql_main, table: users}",
        "targets": "targets:\n  - clickhouse: {connection: clickhouse_main}",
    },
    {
        "version": "version: 1",
        "asset": "asset: example",
        "source": "source:\n  mysql: {connection: mysql_main, table: users}",
        "targets": 'targets:\n  - redis: {connection: redis_online, key: "{id}"}',
    },
)
#: Variables that a process sets for the processes that it starts; nobody else does.
SET_FOR_CHILDREN = {"MILLRACE_MAKE_ARCHIVE", "PYSPARK_GATEWAY_PORT", "PYSPARK_GATEWAY_SECRET"}
SECTIONS = set(json_schema()["properties"])


def pages_to_read() -> list[Any]:
    return [
        pytest.param(page, id=name)
        for name, page in PAGES.items()
        if name not in RUN_ELSEWHERE and any(block.kind in DONE for block in page.blocks)
    ]


def yaml_blocks() -> list[Any]:
    return [
        pytest.param(page, block, id=f"{page.name}:{block.line}")
        for page in PAGES.values()
        for block in page.blocks
        if block.kind == "yaml"
    ]


@pytest.mark.parametrize("page", pages_to_read())
def test_a_reader_who_does_what_a_page_says_sees_what_it_shows(
    page: Page, short_path: Path, request: pytest.FixtureRequest
) -> None:
    env, sql = environment(), _no_database
    if any(block.kind == "sql" for block in page.blocks):
        database = request.getfixturevalue("mariadb_database")
        env, sql = environment(MYSQL_URL=database.url), database.execute
    if page.name in GIVEN:
        (short_path / "logs").mkdir()
        GIVEN[page.name](short_path)
    reader = Reader(page, short_path, env, sql)
    try:
        reader.read()
    finally:
        reader.close()


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose path doesn't break the tables that show it."""
    with tempfile.TemporaryDirectory(prefix="millrace-") as name:
        folder = Path(name, "shop")
        folder.mkdir()
        yield folder


def _no_database(statement: str) -> object:
    raise AssertionError(f"there is no database for: {statement}")


@pytest.mark.parametrize(("page", "block"), yaml_blocks())
def test_yaml_is_a_spec_or_a_part_of_one_or_connections(page: Page, block: Block, tmp_path: Path) -> None:
    if _is_used_there(page, block):
        return
    urls = set(re.findall(r'^\w+: "?\$\{(\w+)\}', block.text, re.MULTILINE))
    env = {name: "redis://127.0.0.1" if name in urls else "x" for name in re.findall(r"\$\{(\w+)", block.text)}
    data = yaml.safe_load(block.text)
    if not SECTIONS.issuperset(data):
        file = tmp_path / "connections.yaml"
        file.write_text(block.text, encoding="utf-8")
        for name in data:
            resolve(name, env, file)
        return
    texts = [
        "\n".join(text for section, text in whole.items() if section not in data) + f"\n{block.text}" for whole in WHOLE
    ]
    failures = list(filter(None, (_refusal(text, env) for text in texts)))
    assert len(failures) < len(WHOLE), failures[0]


def _is_used_there(page: Page, block: Block) -> bool:
    """Whether the page itself gives this file to a command, and shows what comes of it."""
    commands = [e.command for b in page.blocks if b.kind == "console" for e in examples(b.text)]
    return bool(block.name) and any(block.name in command.split() for command in commands)


def _refusal(text: str, env: Mapping[str, str]) -> str:
    try:
        parse_spec(text, env=env)
    except SpecError as error:
        return f"{text}\n{error}"
    return ""


def test_every_block_says_what_it_is() -> None:
    kinds = {page.name: {block.kind for block in page.blocks} for page in PAGES.values()}
    assert not {name: found - KINDS for name, found in kinds.items() if name not in RUN_ELSEWHERE and found - KINDS}


@pytest.mark.parametrize(("page", "tests"), RUN_ELSEWHERE.items())
def test_the_other_pages_have_tests_of_their_own(page: str, tests: str) -> None:
    assert page in PAGES
    assert Path(page).name in (ROOT / tests).read_text(encoding="utf-8")


def test_messages_to_look_up_are_those_that_are_printed() -> None:
    quoted = [cells[0] for page in PAGES.values() for cells in page.table("message")]
    assert len(quoted) > 20
    unknown = [text for text in quoted if not is_printed(text.strip("`"))]
    assert not unknown, "\n".join(unknown)


@pytest.mark.parametrize(
    ("name", "generated"),
    [
        ("docs/spec.md", spec_reference),
        ("docs/connectors.md", lambda: connector_reference() + "\n" + support_reference()),
        ("docs/commands.md", lambda: command_reference(app)),
    ],
)
def test_generated_pages_are_current(name: str, generated: Callable[[], str]) -> None:
    _, mark, rest = PAGES[name].text.partition(MARK)
    assert mark + rest == generated(), "run scripts/docs"


def test_commands_and_scripts_that_pages_name_are_there() -> None:
    wrong = []
    for page in PAGES.values():
        for text in _named_commands(page):
            problem = _unknown_command(text) or _unknown_script(text)
            if problem:
                wrong.append(f"{page.name}: `{text}`: {problem}")
    assert not wrong, "\n".join(wrong)


def _named_commands(page: Page) -> Iterator[str]:
    yield from page.code
    for block in page.blocks:
        if block.kind == "console":
            yield from (example.command for example in examples(block.text))
        elif block.kind in ("sh", "text"):
            yield from block.text.splitlines()


def _unknown_command(text: str) -> str:
    words = re.split(r"[\s(]+", text.partition("#")[0])
    if words[0] != "millrace" or len(words) == 1 or not re.fullmatch(r"[a-z]+", words[1]):
        return ""
    command: Any = typer.main.get_command(app)
    for word in words[1:]:
        inner = getattr(command, "commands", None)
        if inner is None or word.startswith("-"):
            break
        if word not in inner:
            return f"no command '{word}'"
        command = inner[word]
    options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    wrong = [word for word in words if word.startswith("--") and word not in options]
    return f"no option {wrong[0]}" if wrong else ""


def _unknown_script(text: str) -> str:
    script = re.match(r"scripts/[\w./-]+", text)
    if script and not (ROOT / script[0]).exists():
        return "no such script"
    module = re.match(r"python -m (benchmarks\.[a-z_]+|millrace\.[a-z_.]+)", text)
    if module and module[1].startswith("benchmarks.") and not (ROOT / f"{module[1].replace('.', '/')}.py").exists():
        return "no such module"
    return ""


def test_every_variable_that_the_code_reads_is_documented() -> None:
    folders = ("core", "connectors", "quality", "jobs", "serving", "cli")
    code = "\n".join(path.read_text(encoding="utf-8") for folder in folders for path in (ROOT / folder).rglob("*.py"))
    read = set(re.findall(r"\"(MILLRACE_[A-Z_]+|PYSPARK_[A-Z_]+|[A-Z]+_HOME)\"", code)) - SET_FOR_CHILDREN
    documented = "\n".join(page.text for page in PAGES.values())
    assert {"MILLRACE_HOME", "JAVA_HOME"} <= read
    assert not [name for name in read if not re.search(rf"\b{name}\b", documented)]


def test_every_relative_link_leads_somewhere() -> None:
    broken = [f"{page.name}: {link}" for page in PAGES.values() for link in page.links if _is_broken(page, link)]
    assert not broken, "\n".join(broken)


def _is_broken(page: Page, link: str) -> bool:
    if "://" in link or link.startswith("mailto:"):
        return False
    path, _, anchor = link.partition("#")
    target = (page.path.parent / path).resolve() if path else page.path
    if not target.exists():
        return True
    return bool(anchor) and anchor not in PAGES[str(target.relative_to(ROOT))].anchors


def test_every_page_can_be_found_from_the_readme() -> None:
    found, waiting = set(), ["README.md"]
    while waiting:
        page = PAGES[waiting.pop()]
        if page.name in found:
            continue
        found.add(page.name)
        targets = ((page.path.parent / link.partition("#")[0]).resolve() for link in page.links if "://" not in link)
        names = {str(target.relative_to(ROOT)) for target in targets if target.is_relative_to(ROOT)}
        waiting += [name for name in PAGES if name in names or str(Path(name).parent) in names - {"docs"}]
    assert not set(PAGES) - found


def test_what_differs_each_time_stands_for_any_of_its_kind() -> None:
    shown = "run 1qmmbnh688 took 4.8 s, again 1qmmbnh688\n…\nend of … at 2026-11-23T12:44:24Z"
    printed = (
        "run 1zzzzzzzzz  took 12.25 s, again 1zzzzzzzzz\nmore\n  5.0 s  … stage\nend of it at 2027-01-01T00:00:00Z"
    )
    assert match(shown, printed, {}) == {"1qmmbnh688": "1zzzzzzzzz"}
    assert match(shown, printed, {"1qmmbnh688": "1yyyyyyyyy"}) is None
    assert match("4 rows", "5 rows", {}) is None
    assert match("one\ntwo", "one", {}) is None
