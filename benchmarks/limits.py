"""Speed limits as a whole run keeps them: the rate that was measured against the one that was asked for.

    python -m benchmarks.limits [--rows 200000]

`.rows`: rows/s of the load step, `.bytes`: bytes/s of the stage step, each against the limit in the spec, on 1 channel
and on 4. Within 10 % means a ratio of 0.9 to 1.1.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from benchmarks.harness import print_measure, rows_argument
from millrace.catalog import Catalog
from millrace.jobs import runner
from millrace.jobs.session import SessionHolder
from millrace.jobs.statistics import RunStatistics
from millrace.spec import parse_spec
from millrace.spec.settings import Settings
from tests.servers.redis import RedisServer

SPEC = """
version: 1
asset: limited
source:
  log: {{path: "{path}", format: json, fields: {{id: bigint, name: string}}}}
targets:
  - redis: {{connection: bench_redis, key: "{{id}}"}}
limits: {{channels: {channels}, {limit}}}
"""
SECONDS = 10


def main() -> None:
    rows = rows_argument(__doc__, 200_000)
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as name, RedisServer() as store:
        os.environ["MILLRACE_CONNECTION_BENCH_REDIS"] = store.url
        folder = Path(name)
        for part in range(8):
            lines = (json.dumps({"id": n, "name": f"name {n}"}) for n in range(part, rows, 8))
            (folder / f"{part}.json").write_text("\n".join(lines) + "\n")
        settings = Settings.from_env({"MILLRACE_HOME": name})
        with Catalog.open(settings.catalog_url) as catalog, SessionHolder(settings) as session:
            for channels in (1, 4):
                rate = rows // SECONDS
                loaded = _run(settings, catalog, session, channels, f"rows_per_second: {rate}").targets["redis"]
                print_measure(f"limits.rows.{channels}", loaded.rows_loaded / loaded.seconds, rate, "rows/s")
                rate = sum(path.stat().st_size for path in folder.glob("*.json")) // SECONDS
                read = _run(settings, catalog, session, channels, f"bytes_per_second: {rate}").source
                print_measure(f"limits.bytes.{channels}", read.bytes_read / read.seconds, rate, "bytes/s")


def _run(settings: Settings, catalog: Catalog, session: SessionHolder, channels: int, limit: str) -> RunStatistics:
    text = SPEC.format(path=settings.home / "*.json", channels=channels, limit=limit)
    report = runner.run(parse_spec(text), settings, catalog, session)
    if report.error is not None:
        raise report.error
    return report.statistics


if __name__ == "__main__":
    main()
