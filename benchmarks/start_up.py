"""A one-row run, cold, from the command to published, and the start of its Spark session.

    python -m benchmarks.start_up

`.session`: our session's start against a plain `SparkSession.builder.getOrCreate()`, each in a process of its own.
`.run`: the whole command `millrace run` for one row, against that plain start; `seconds_beyond` says how much longer it
takes than a bare session's start.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import print_measure, timed
from tests.servers.redis import RedisServer

ROUNDS = 5
SPEC = """
version: 1
asset: one
source:
  log: {path: "one.json", format: json, fields: {id: bigint}}
checks:
  - not_null: [id]
targets:
  - redis: {connection: bench_redis, key: "{id}"}
"""
PLAIN = "from pyspark.sql import SparkSession; SparkSession.builder.master('local[*]').getOrCreate()"
OURS = (
    "from millrace.jobs.session import spark_session; from millrace.spec.settings import Settings;"
    "spark_session(Settings.from_env())"
)
RUN = "import sys; from millrace.cli.main import main; sys.argv = ['millrace', 'run', 'one.yaml']; main()"


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as name, RedisServer() as store:
        folder = Path(name)
        (folder / "one.yaml").write_text(SPEC)
        (folder / "one.json").write_text('{"id": 1}\n')
        env = {**os.environ, "MILLRACE_CONNECTION_BENCH_REDIS": store.url}
        times: dict[str, list[float]] = {PLAIN: [], OURS: [], RUN: []}
        for turn in range(ROUNDS + 1):
            for code, found in times.items():
                seconds = timed(lambda code=code: _python(code, folder, env))  # type: ignore[misc]  # bound at once
                if turn:  # the first round warms the disk's cache
                    found.append(seconds)
    plain, ours, run = (statistics.median(found) for found in times.values())
    print_measure("start_up.session", 1 / ours, 1 / plain, "starts/s")
    print_measure("start_up.run", 1 / run, 1 / plain, "starts/s")
    print(json.dumps({"name": "start_up.run.seconds_beyond", "plain": plain, "session": ours, "beyond": run - plain}))


def _python(code: str, folder: Path, env: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])


if __name__ == "__main__":
    main()
