"""Access logs → Druid through a whole run, against Druid's own batch task on the same rows.

    python -m benchmarks.log_to_druid [--rows 2000000]

`.queryable`: the whole run after the session's start (plan, stage, load, verify, publish, retire), at whose end every
row can be queried, against Druid's `index_parallel` with its own defaults and as many tasks as there are cores: it
finds the parsed rows as JSON lines on its disk, and is timed until a query counts them all. Nothing is parsed, checked
or verified there. Turn by turn in one Druid, the better of two of each after a first that warms the JVMs.
"""

from __future__ import annotations

import os
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.dataset

from benchmarks.data import access_log
from benchmarks.harness import print_measure, rows_argument, timed
from millrace.catalog import Catalog
from millrace.connectors.druid.encode import encode
from millrace.connectors.druid.endpoint import endpoint_of
from millrace.connectors.druid.link import Link
from millrace.connectors.wire.arrow_types import columns_of
from millrace.errors import NotFound, TargetError, TransientError
from millrace.jobs import runner
from millrace.jobs.session import SessionHolder
from millrace.spec import parse_spec
from millrace.spec.settings import Settings
from tests.servers.druid import Druid

SPEC = """
version: 1
asset: requests
source:
  log: {{path: "{path}", format: combined}}
targets:
  - druid: {{connection: bench_druid, timestamp: time}}
limits: {{channels: {channels}, dirty: {{max_ratio: 1%}}}}
"""
_LONGS = ("status", "bytes")
_PAUSE_S = 0.2
_LONGEST_S = 600.0


def main() -> None:
    rows = rows_argument(__doc__, 2_000_000)
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as name, Druid(quick=False) as store:
        path = Path(name) / "access.log"
        access_log(path, rows)
        os.environ["MILLRACE_CONNECTION_BENCH_DRUID"] = store.url
        spec = parse_spec(SPEC.format(path=path, channels=os.cpu_count()))
        settings = Settings.from_env({"MILLRACE_HOME": name})
        link = Link(endpoint_of(store.connection))
        with Catalog.open(settings.catalog_url) as catalog, SessionHolder(settings) as session:
            session.get()
            ours, alone = [], []
            for turn in range(3):
                report = runner.run(spec, settings, catalog, session)
                if report.error is not None:
                    raise report.error
                ours.append(report.statistics.seconds)
                files, expected = _rows_as_json(Path(name), store.staging)
                alone.append(timed(lambda: _alone(link, f"alone{turn}", files, expected)))  # noqa: B023  # called at once
    print_measure("log_to_druid.queryable", rows / min(ours[1:]), rows / min(alone[1:]), "rows/s")


def _rows_as_json(home: Path, folder: Path) -> tuple[Sequence[Path], int]:
    """The staged rows of the last run as Druid's task finds them, a file for each of the stage's."""
    stage = max(home.glob("**/stage"), key=lambda found: found.stat().st_mtime)
    files, rows = [], 0
    for number, source in enumerate(sorted(stage.glob("*.parquet"))):
        files.append(folder / f"alone{number}.json")
        with files[-1].open("wb") as file:
            for batch in pyarrow.dataset.dataset(source).to_batches():
                lines = encode(batch, columns_of(batch.schema), "time")
                file.write(lines.text)
                rows += lines.rows
    return files, rows


def _alone(link: Link, datasource: str, files: Sequence[Path], rows: int) -> None:
    names = ("host", "ident", "user", "method", "path", "protocol", "status", "bytes", "referer", "agent")
    dimensions: list[Any] = [{"type": "long", "name": n} if n in _LONGS else n for n in names]
    schema = {
        "dataSource": datasource,
        "timestampSpec": {"column": "__time", "format": "millis"},
        "dimensionsSpec": {"dimensions": dimensions},
        "granularitySpec": {"segmentGranularity": "DAY", "queryGranularity": "NONE", "rollup": False},
    }
    source = {"type": "local", "files": list(map(str, files))}
    io = {"type": "index_parallel", "inputSource": source, "inputFormat": {"type": "json"}, "appendToExisting": False}
    tuning = {"type": "index_parallel", "maxNumConcurrentSubTasks": os.cpu_count()}
    task = {"type": "index_parallel", "id": f"{datasource}_{uuid.uuid4().hex}"}
    link.post(
        "measuring",
        "/druid/indexer/v1/task",
        {**task, "spec": {"dataSchema": schema, "ioConfig": io, "tuningConfig": tuning}},
    )
    deadline = time.monotonic() + _LONGEST_S
    while _count(link, datasource) != rows:
        if time.monotonic() > deadline:
            raise TransientError(f"Druid's own task did not bring {rows:,} rows within {_LONGEST_S:.0f} s")
        time.sleep(_PAUSE_S)


def _count(link: Link, datasource: str) -> int:
    try:
        return int(link.sql("measuring", f'SELECT COUNT(*) FROM "{datasource}"')[0][0])
    except (NotFound, TargetError):
        return 0


if __name__ == "__main__":
    main()
