"""The DAG that finds late assets: its file, and that it is one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from millrace.dags.layout import late_file

CODE = """
import json, runpy, sys
from airflow.serialization.serialized_objects import DagSerialization
dag = runpy.run_path(sys.argv[1])["dag"]
task = dag.get_task("late")
print(json.dumps({"dag": DagSerialization.to_dict(dag)["dag"]["dag_id"], "schedule": dag.schedule,
                  "specs": task.specs, "heavy": [m for m in ("pyspark", "pandas") if m in sys.modules]}))
"""


def test_its_file_is_a_dag_over_the_folders_of_specs(tmp_path: Path) -> None:
    folder = tmp_path / "it's {odd}"
    folder.mkdir()
    file = late_file([folder], tmp_path / "outlines")
    assert file.path.name == "millrace.late.py"
    path = tmp_path / file.path
    path.write_text(file.text)
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__UNIT_TEST_MODE": "True"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE, str(path)],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "dag": "millrace.late",
        "schedule": "*/5 * * * *",
        "specs": [str(folder)],
        "heavy": [],
    }
