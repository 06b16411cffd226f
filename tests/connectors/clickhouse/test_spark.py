"""ClickHouse from Spark: with tasks that are killed and run again, and as a format that any program writes to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.servers.clickhouse import ClickHouseDatabase

PROGRAM = Path(__file__).with_name("spark_program.py")
ROWS = 1_200_000


def test_killed_tasks_neither_double_nor_lose_a_row(clickhouse_database: ClickHouseDatabase, tmp_path: Path) -> None:
    environment = {**os.environ, "MILLRACE_CONNECTION_WAREHOUSE": clickhouse_database.url}
    command = [sys.executable, str(PROGRAM), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(path.name for path in tmp_path.glob("killed-*")) == ["killed-1", "killed-2", "killed-3"]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {"told": ROWS, "count": ROWS, "sampled": found["sampled"], "mismatches": []}
    assert found["sampled"] > 1000
    distinct = clickhouse_database.query("SELECT uniqExact(id), sum(id), uniqExact(text_7) FROM wide")
    assert distinct == f"{ROWS}\t{ROWS * (ROWS - 1) // 2}\t{ROWS}\n"
    assert [name for name in clickhouse_database.tables() if name.startswith("wide")] == ["wide", "wide__v1"]
    assert (
        clickhouse_database.query("SELECT count(), sum(id), any(length(tags)) FROM numbers")
        == "100000\t4999950000\t1\n"
    )
    assert len([name for name in clickhouse_database.tables() if name.startswith("numbers__")]) == 2
