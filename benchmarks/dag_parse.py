"""Specs to Airflow DAG objects on one core, against dag-factory building the same DAGs from its own YAML.

    python -m benchmarks.dag_parse [--rows SPECS]

`.changed`: every spec is new, read and validated. `dag_parse`: specs as they were at the last look, as almost always.
dag-factory is no part of this project; without it the reference is Airflow's own classes building the same tasks:

    pip download --no-deps --dest wheels dag-factory; PYTHONPATH=$(echo wheels/*.whl) python -m benchmarks.dag_parse
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.harness import Seconds, pin_to_one_core, print_measure, rows_argument, side_by_side, timed

SPEC = """\
version: 1
asset: asset_{number}
owner: team{team}@example.com
description: Rows of asset {number}, for a benchmark.
business_line: line{team}
priority: high
schedule: "{minute} * * * *"
source:
  mysql: {{connection: mysql_main, table: table_{number}, columns: [id, name, city, age, updated_at], split_by: id}}
transform:
  - where: "age >= 0"
  - derive: {{age_band: "floor(age / 10) * 10"}}
  - dedupe: {{key: [id], keep: latest, by: updated_at}}
checks:
  - not_null: [id, name]
  - unique: [id]
  - between: {{column: age, min: 0, max: 150}}
  - row_count: {{min: 1, change: 20%}}
targets:
  - redis: {{connection: redis_online, key: "{{id}}", value: protobuf}}
  - clickhouse: {{connection: clickhouse_main, order_by: [id]}}
limits: {{channels: 4, rows_per_second: 200000, timeout: 30m}}
apis:
  - kv: {{name: asset_{number}}}
"""
STEPS = {"input": ("plan", "stage", "check"), "targets": ("load", "verify"), "release": ("publish", "retire")}
ROUNDS = 3


def main() -> None:
    count = rows_argument(__doc__, 1000)
    pin_to_one_core()
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as name:
        folder = Path(name)
        os.environ["AIRFLOW_HOME"] = str(folder / "airflow")
        logging.disable(logging.WARNING)
        specs = [_written(folder / f"spec_{n}.yaml", _spec(n)) for n in range(count)]
        ours, kept = _ours(), str(folder / "kept")
        ours(str(folder / "warm"), specs[:1])
        cold = timed(lambda: ours(kept, specs))
        print(json.dumps({"name": "dag_parse.changed", "seconds": round(cold, 3), "dags": count}), flush=True)
        reference = _dag_factory(folder, count) if importlib.util.find_spec("dagfactory") else _airflow(count)
        seconds: Seconds = side_by_side(lambda: ours(kept, specs), reference, ROUNDS)
        print_measure("dag_parse", count / seconds.ours, count / seconds.reference, "DAGs/s")
        print_measure("dag_parse.changed", count / cold, count / seconds.reference, "DAGs/s")


def _spec(number: int) -> str:
    return SPEC.format(number=number, team=number % 20, minute=number % 60)


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def _ours() -> Callable[[str, list[Path]], object]:
    from millrace.dags.factory import spec_dag

    return lambda kept, specs: [spec_dag(str(spec), kept) for spec in specs]


def _dag_factory(folder: Path, count: int) -> Callable[[], object]:
    """The same DAGs from YAML files of dag-factory's."""
    import yaml

    load_yaml_dags = importlib.import_module("dagfactory").load_yaml_dags

    files = [
        _written(folder / f"factory_{n}.yaml", yaml.safe_dump({f"asset_{n}": _dag(n)}, sort_keys=False))
        for n in range(count)
    ]

    def build() -> None:
        for file in files:
            found: dict[str, Any] = {}
            load_yaml_dags(globals_dict=found, config_filepath=str(file), defaults_config_path=str(folder))
            assert any(name.startswith("asset_") for name in found), found

    print("the reference is dag-factory", file=sys.stderr)
    return build


def _dag(number: int) -> dict[str, Any]:
    about = {
        "asset": f"asset_{number}",
        "spec": f"spec_{number}.yaml",
        "connections": ["mysql_main"],
        "timeout_s": 1800,
    }
    tasks, before = [], ""
    for group, steps in STEPS.items():
        for step in steps:
            task = {
                "task_id": step,
                "operator": "millrace.dags.operator.StepOperator",
                "step": step,
                "task_group_name": group,
                **about,
                **({"dependencies": [before]} if before else {}),
                **({"expand": {"target": ["redis", "clickhouse"]}} if group == "targets" else {}),
            }
            tasks.append(task)
            before = step
    return {
        "default_args": {
            "owner": f"team{number % 20}@example.com", "pool": "pool", "priority_weight": 100,
            "weight_rule": "absolute", "retries": 3, "retry_delay": 30, "retry_exponential_backoff": 2.0,
            "start_date": "2026-01-01",
        },
        "schedule": f"{number % 60} * * * *",
        "catchup": False,
        "max_active_runs": 1,
        "description": f"Rows of asset {number}, for a benchmark.",
        "doc_md": f"Rows of asset {number}, for a benchmark.",
        "tags": ["priority: high", "store: redis", "store: clickhouse"],
        "params": {"full_refresh": False, "dry_run": False, "interval": None, "limits": {"channels": 4}},
        "task_groups": {group: {"tooltip": group} for group in STEPS},
        "tasks": tasks,
    }  # fmt: skip


def _airflow(count: int) -> Callable[[], object]:
    """Airflow's own classes, and nothing else: no YAML, no validation, no page, no parameters."""
    from airflow.sdk import DAG, TaskGroup

    from millrace.dags.operator import StepOperator

    def build() -> None:
        for number in range(count):
            spec = _dag(number)
            with DAG(f"asset_{number}", schedule=spec["schedule"], tags=spec["tags"], default_args={"retries": 3}):
                last: Any = None
                groups = {group: TaskGroup(group, prefix_group_id=False) for group in STEPS}
                for task in spec["tasks"]:
                    arguments = {k: v for k, v in task.items() if k not in _OURS}
                    made = StepOperator(**arguments, task_group=groups[task["task_group_name"]])
                    last = made if last is None else last >> made

    print("the reference is Airflow itself: dag-factory is not installed", file=sys.stderr)
    return build


_OURS = ("operator", "task_group_name", "dependencies", "expand")

if __name__ == "__main__":
    main()
