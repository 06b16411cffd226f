"""The life of an asset by the command alone, on embedded stores."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.cli.conftest import Shell

SPEC = """
version: 1
asset: people
source:
  log: {path: "people.csv", format: csv, header: true, fields: {id: bigint, name: string, age: int}}
transform:
  - where: age >= 0
checks:
  - unique: [id]
targets:
  - redis: {connection: embedded, key: "{id}"LIMITS
versions: {keep: 1}
apis:
  - kv: {name: person}
test:
  connections: {embedded: embedded}
"""


def write(shell: Shell, rows: int, age: int = 30, limits: str = "", bad: int = 0) -> None:
    shell.write("people.yaml", [SPEC.replace("LIMITS", "}\nlimits: {dirty: {max_rows: 1}" + limits + "}")])
    lines = [f"{n},name {n},{age}" for n in range(rows)] + ["nonsense"] * bad
    shell.write("people.csv", ["id,name,age", *lines])


def test_an_asset_from_its_first_plan_to_a_rollback(shell: Shell) -> None:
    write(shell, 100, bad=1)
    assert shell.ok("validate", "people.yaml").out.strip() == "people.yaml: valid"
    plan = shell.ok("plan", "people.yaml", "--json").json
    assert plan["asset"] == "people"
    assert [target["name"] for target in plan["targets"]] == ["redis"]
    assert "people.csv" in str(plan["source"])

    preview = shell.ok("preview", "people.yaml", "--rows", "3", "--json").json
    assert [row["id"] for row in preview["rows"]] == [0, 1, 2]

    first = shell.ok("run", "people.yaml", "--json").json
    assert first["error"] is None
    assert first["statistics"]["source"]["rows_read"] == 101
    assert shell.ok("get", "person", "7").out.strip() == '{"id": 7, "name": "name 7", "age": 30}'
    missing = shell("get", "person", "100")
    assert (missing.code, missing.out) == (1, "")
    assert "no row with the key 100" in missing.err

    dirty = shell.ok("dirty", "people", "--json").json
    assert dirty["total"] == 1
    assert dirty["rows"][0]["raw"] == "nonsense"

    write(shell, 100, age=31)
    second = shell.ok("run", "people.yaml")
    assert "100 read" in second.err
    assert "is published" in second.out
    status = shell.ok("status", "--json").json
    assert [(s["asset"], s["state"], s["rows"]) for s in status] == [("people", "succeeded", 100)]

    write(shell, 100, age=31)
    shell.write("people.csv", ["id,name,age", "1,a,1", "1,b,1"])
    refused = shell("run", "people.yaml")
    assert refused.code == 3
    assert "unique: id" in refused.err
    assert '"age": 31' in shell.ok("get", "person", "7").out

    back = shell.ok("rollback", "people", "--json").json
    assert back["version"] == first["version"]
    assert '"age": 30' in shell.ok("get", "person", "7").out
    states = {v["version"]: v["state"] for v in shell.ok("versions", "people", "--json").json}
    assert (states[first["version"]], states[back["previous"]]) == ("current", "rolled_back")


def test_a_trial_leaves_nothing_behind(shell: Shell) -> None:
    write(shell, 10)
    report = shell.ok("test", "people.yaml", "--json").json
    assert report["error"] is None
    assert report["statistics"]["targets"]["redis"]["rows_loaded"] == 10
    assert shell.ok("status", "--json").json == []
    assert shell("get", "person", "1").code == 1
    (server,) = shell.ok("embedded", "status", "--json").json
    size = subprocess.run(
        ["redis-cli", "-p", str(server["port"]), "dbsize"], capture_output=True, text=True, check=True
    )
    assert size.stdout.strip() == "0"


@pytest.mark.parametrize("step", ["stage", "load:redis"])
def test_ctrl_c_cancels_and_leaves_the_current_version_alone(shell: Shell, step: str) -> None:
    write(shell, 10, age=1)
    first = shell.ok("run", "people.yaml", "--json").json
    write(shell, 3000, age=2, limits=", rows_per_second: 300")
    process = shell.start("run", "people.yaml")
    try:
        wait_for_step(shell, step)
        os.kill(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=200)
    finally:
        if process.poll() is None:
            process.kill()
    assert process.returncode == 130, err
    assert "cancelled by SIGINT" in err
    assert "Traceback" not in err
    assert '"age": 1' in shell.ok("get", "person", "7").out
    runs = shell.ok("status", "people", "--json").json
    assert [run["state"] for run in runs["runs"]] == ["cancelled", "succeeded"]
    assert (runs["version"], runs["running"]) == (first["version"], None)


def wait_for_step(shell: Shell, step: str) -> None:
    for _ in range(200):
        runs = shell.ok("status", "people", "--json").json["runs"]
        if runs[0]["state"] == "running" and runs[0]["step"] == step:
            time.sleep(1)
            return
        time.sleep(0.1)
    raise AssertionError(f"no run came to step {step}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB. Needs root, as the set-up of the tests does."""
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(path)], check=True)
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def test_a_full_disk_fails_the_stage_and_says_what_to_do(shell: Shell, small_disk: Path) -> None:
    write(shell, 10, age=1)
    shell.ok("run", "people.yaml")
    shell.write("people.csv", ["id,name,age", *(f"{n},{os.urandom(300).hex()},2" for n in range(20_000))])
    report = shell("run", "people.yaml", MILLRACE_WORK_DIR=str(small_disk))
    assert report.code == 1, report.err
    assert "No space left on device" in report.err
    assert "MILLRACE_WORK_DIR" in report.err
    assert '"age": 1' in shell.ok("get", "person", "7").out


def test_errors_of_a_spec_come_all_at_once_with_their_places(shell: Shell) -> None:
    shell.write("bad.yaml", ["version: 1", "asset: x", "soruce: {}", "targets: []"])
    done = shell("validate", "bad.yaml")
    assert done.code == 2
    assert "bad.yaml:3:1: unknown key 'soruce', did you mean 'source'?" in done.err
    assert shell("run", "bad.yaml").code == 2
    errors = shell("validate", "bad.yaml", "--json").json[0]["errors"]
    assert len(errors) >= 2


def test_a_starter_spec_is_valid_and_is_not_overwritten(shell: Shell) -> None:
    shell.ok("init", "mine.yaml", "--source", "log", "--target", "redis")
    shell.ok("validate", "mine.yaml")
    assert shell("init", "mine.yaml", "--source", "log", "--target", "redis").code == 2


def test_what_is_asked_for_but_not_there_is_an_error(shell: Shell) -> None:
    assert shell("versions", "nobody").code == 1
    assert "nobody" in shell("get", "nobody", "1").err
    assert shell("run", "missing.yaml").code == 2


def test_the_command_says_which_millrace_it_is(shell: Shell) -> None:
    assert shell.ok("--version").out == f"millrace {version('millrace')}\n"
    assert shell("--debug").code == 2
