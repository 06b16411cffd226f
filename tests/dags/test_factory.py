"""DAGs of specs, built in a process of their own, in the form in which Airflow keeps them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.dags import build_dags
from tests.dags.test_outlines import SPEC
from tests.test_style import ROOT

GOLDEN = Path(__file__).parent / "golden"
AFTER = """\
version: 1
asset: charts
schedule: {after: [plays, tracks]}
source:
  log: {path: "logs/*.log", format: combined}
targets:
  - redis: {connection: online, key: "{host}"}
mode: replace
"""
HOSTILE = """\
version: 1
asset: hostile
owner: "\\"'`$(id){{ ds }}"
description: "\\"\\"\\"\\n'''\\n{{ conn.x.password }} ${NOWHERE:-x} <script>alert(1)</script> docs.md"
business_line: "{{ var.value.x }}'; DROP TABLE pool; --"
source:
  log: {path: "logs/$(rm -rf x) '\\".log", format: combined}
targets:
  - redis: {connection: online, key: "{host}"}
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `build_dags` prints of a few specs."""
    folder = tmp_path_factory.mktemp("specs")
    texts = {
        "plays.yaml": SPEC,
        "charts.yaml": AFTER,
        "hostile.yaml": HOSTILE,
        "bad.yaml": SPEC.replace("[time]", "[tme]"),
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    done = subprocess.run(
        [sys.executable, build_dags.__file__, "kept", *texts],
        env={**os.environ, "AIRFLOW_HOME": str(folder / "airflow")},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_building_dags_brings_in_nothing_heavy(built: dict[str, Any]) -> None:
    assert not {"pyspark", "pandas", "numpy", "pyarrow", "great_expectations", "redis"} & set(built["modules"])


@pytest.mark.parametrize("name", ["plays", "charts"])
def test_dags_are_as_they_were(built: dict[str, Any], name: str) -> None:
    """After a change that is meant, write what is built into the file, and look at the difference."""
    text = json.dumps(stable(built["dags"][f"{name}.yaml"]), indent=1, sort_keys=True) + "\n"
    golden = GOLDEN / f"{name}.json"
    assert golden.read_text() == text


def test_what_runs_after_what(built: dict[str, Any]) -> None:
    tasks = {task["__var"]["task_id"]: task["__var"] for task in built["dags"]["plays.yaml"]["dag"]["tasks"]}
    order = ["plan", "stage", "check", "load", "verify", "publish", "retire"]
    assert [tasks[name].get("downstream_task_ids", []) for name in order] == [[name] for name in order[1:]] + [[]]
    assert tasks["retire"]["is_teardown"]
    assert all(tasks[name]["_is_mapped"] for name in ("load", "verify"))


def test_a_bad_spec_raises_where_its_error_is(built: dict[str, Any]) -> None:
    assert "bad.yaml:10:16: " in built["dags"]["bad.yaml"]
    assert "unknown column 'tme'" in built["dags"]["bad.yaml"]


def test_nothing_of_a_hostile_spec_is_run_or_rendered(built: dict[str, Any]) -> None:
    dag = built["dags"]["hostile.yaml"]["dag"]
    assert dag["doc_md"].startswith("\"\"\" ''' {{ conn.x.password }} x \\<script\\>alert(1)\\</script\\> docs.md\n")
    tasks = [task["__var"] for task in dag["tasks"]]
    assert all(not task.get("template_fields") for task in tasks)
    assert all(task.get("pool", dag["default_args"]["__var"]["pool"]).replace("_", "").isalnum() for task in tasks)
    assert dag.get("owner_links") in (None, {})


def stable(dag: dict[str, Any]) -> dict[str, Any]:
    """Without what differs from one place and time to the next."""
    found: dict[str, Any] = json.loads(json.dumps(dag).replace(str(ROOT), "ROOT"))
    found["dag"].pop("_processor_dags_folder", None)
    found.pop("client_defaults", None)
    return found
