"""Killing a task kills its Spark application: a real step on a real Spark."""

from __future__ import annotations

import threading
from pathlib import Path

from millrace.catalog import Catalog, StepState
from millrace.dags.process import StepProcess
from millrace.dags.request import StepOutcome, StepRequest
from millrace.dags.submission import of_master
from millrace.jobs.request import RunRequest
from millrace.jobs.steps import begin
from millrace.spec import load_spec
from millrace.spec.settings import Settings
from tests.dags.test_process import alive
from tests.servers.process import wait_until
from tests.servers.redis import RedisServer

SLOW = """
version: 1
asset: slow
source:
  log: {{path: "{path}", format: json, fields: {{id: bigint}}}}
targets:
  - redis: {{connection: store, key: "{{id}}"}}
limits: {{channels: 1, rows_per_second: 1}}
"""


def spark_of(home: Path) -> list[int]:
    """The processes of Java that work for a home folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                java = (entry / "cmdline").read_bytes().split(b"\0")[0].endswith(b"java")
                if java and f"MILLRACE_HOME={home}\0".encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def test_a_stopped_step_takes_its_spark_application_with_it(tmp_path: Path, redis_server: RedisServer) -> None:
    (tmp_path / "rows.json").write_text("".join(f'{{"id": {n}}}\n' for n in range(1000)))
    (tmp_path / "slow.yaml").write_text(SLOW.format(path=tmp_path / "rows.json"))
    (tmp_path / "connections.yaml").write_text(f"store: {redis_server.url}\n")
    environment = {
        "MILLRACE_HOME": str(tmp_path),
        "MILLRACE_CONNECTIONS": str(tmp_path / "connections.yaml"),
        "MILLRACE_SPARK_MASTER": "local[1]",
    }
    settings = Settings.from_env(environment)
    run_id = begin(load_spec(tmp_path / "slow.yaml"), settings, RunRequest(key="manual__1"))
    request = StepRequest("stage", "slow", str(tmp_path / "slow.yaml"), "manual__1", run_id)
    lines: list[str] = []
    step = StepProcess(request, of_master("local[1]", {}), environment, lines.append)
    outcomes: list[StepOutcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(step.run()))
    thread.start()
    try:
        with Catalog.open(settings.catalog_url) as catalog:
            wait_until(
                lambda: any(s.name == "stage" and s.state is StepState.RUNNING for s in catalog.runs.get(run_id).steps),
                "the stage to begin", 300, lambda: "\n".join(lines),
            )  # fmt: skip
        wait_until(lambda: bool(spark_of(tmp_path)), "Spark to be at work", 120, lambda: "\n".join(lines))
        spark = spark_of(tmp_path)
    finally:
        step.stop("the task was marked failed")
        thread.join(timeout=120)
    assert outcomes[0].error is not None
    assert "was stopped: the task was marked failed" in outcomes[0].error.message
    wait_until(lambda: not any(map(alive, spark)), "Spark to end", 60)
