"""A run on a standalone cluster whose workers have nothing of millrace but what is shipped to them."""

from __future__ import annotations

import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from pyspark.sql import SparkSession

from millrace.jobs.sharing import hosts_without
from millrace.jobs.shipping import code_archive
from tests.cli.conftest import LONGEST_S, Shell
from tests.servers.process import wait_until
from tests.servers.redis import RedisServer
from tests.servers.spark import SparkCluster

SPEC = """
version: 1
asset: people
source:
  log: {path: "FOLDER/*.csv", format: csv, fields: {id: bigint, name: string, age: int}}
transform:
  TRANSFORM
checks:
  - unique: [id]
targets:
  - redis: {connection: store, key: "{id}"}
limits: {channels: 2, dirty: {max_rows: 2}, rows_per_second: 1000}
"""
WRITTEN_BY_ITS_TASKS = "- rename: {age: years}"
SHUFFLED_BY_SPARK = "- where: id < 1000\n  - dedupe: {key: [id], keep: latest, by: age}"
#: Runs specs one after the other in one session, as a long-lived process does; prints what each has counted.
RUNS = """
import json, sys
from millrace.catalog import Catalog
from millrace.jobs import runner
from millrace.jobs.session import SessionHolder
from millrace.spec import load_spec
from millrace.spec.settings import Settings

settings, found = Settings.from_env(), []
with Catalog.open(settings.catalog_url) as catalog, SessionHolder(settings) as session:
    for path in sys.argv[1:]:
        report = runner.run(load_spec(path), settings, catalog, session)
        if report.error is not None:
            raise report.error
        found.append(report.statistics.to_json()["source"])
print(json.dumps(found))
"""
ROWS = 2000


def test_a_run_goes_through_two_workers_that_have_no_code_of_ours_and_lose_their_python(
    shell: Shell, redis_server: RedisServer
) -> None:
    for name, folder, transform in (("spec", "part", WRITTEN_BY_ITS_TASKS), ("shuffled", "other", SHUFFLED_BY_SPARK)):
        spec = SPEC.replace("FOLDER", f"{shell.folder}/{folder}").replace("TRANSFORM", transform)
        shell.write(f"{name}.yaml", [spec])
    for part in range(2):
        lines = [f"{n},name {n},{n % 90}" for n in range(part, ROWS, 2)]
        shell.write(f"part/{part}.csv", [*lines, "nonsense"])
        shell.write(f"other/{part}.csv", [f"{n},name {n},{part}" for n in range(1001)])
    with SparkCluster() as cluster:
        env = {
            "MILLRACE_SPARK_MASTER": cluster.master.url,
            "MILLRACE_SPARK_CONF": "spark.driver.host=127.0.0.1 spark.driver.bindAddress=127.0.0.1"
            " spark.ui.enabled=false spark.driver.memory=512m spark.executor.memory=512m",
            "MILLRACE_CONNECTION_STORE": redis_server.url,
            "PYSPARK_PYTHON": str(cluster.python),
        }
        refused = shell("run", "spec.yaml", **env)
        assert refused.code == 2
        assert "is a folder of this machine, and tasks run on spark://" in " ".join(refused.err.split())
        shared = {**env, "MILLRACE_WORK_DIR": f"file://{shell.folder}/shared"}
        with ThreadPoolExecutor(1) as beside:
            killed = beside.submit(kill_python, cluster, shell.folder / "shared")
            source, shuffled = (
                replace(shell, command=(sys.executable, "-c", RUNS)).ok("spec.yaml", "shuffled.yaml", **shared).json
            )
            assert killed.result()
        ran = [len(worker.executors) for worker in cluster.workers]
    assert (source["rows_read"], source["rows_staged"], source["rows_dirty"]) == (ROWS + 2, ROWS, 2)
    assert (shuffled["rows_read"], shuffled["rows_filtered"], shuffled["rows_staged"]) == (2002, 1002, 1000)
    assert all(ran), ran
    with redis_server.client() as client:
        assert client.dbsize() == ROWS + 1000 + 2


def kill_python(cluster: SparkCluster, work: Path) -> int:
    """In the middle of the stage, kill what its tasks run in; how many processes these were."""
    wait_until(lambda: any(work.glob("people/*/stage/_drafts-*/*.parquet")), "a task that writes the stage", LONGEST_S)
    return sum(worker.kill_python() for worker in cluster.workers)


def test_the_archive_holds_every_part_with_its_folders() -> None:
    names = set(zipfile.ZipFile(code_archive()).namelist())
    assert {"millrace/", "millrace/connectors/wire/", "millrace/errors.py", "millrace/jobs/load.py"} <= names
    assert not [name for name in names if "__pycache__" in name]
    assert code_archive() == code_archive()


def test_executors_that_dont_see_a_file_are_named(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"")
    assert hosts_without(spark, str(tmp_path / "there")) == []
    assert len(hosts_without(spark, str(tmp_path / "elsewhere"))) == 1
