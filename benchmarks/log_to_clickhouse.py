"""Access logs → ClickHouse through a whole run, against chdb alone on the same file.

    python -m benchmarks.log_to_clickhouse [--rows 5000000]

`.run`: the whole run after the session's start (plan, stage, load, verify, publish, retire) against chdb in a process
of its own, which parses the file by the pattern of the combined format (`format = Regexp`), converts the columns, and
inserts them into a MergeTree: no dirty records, no checks, no versions.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.data import access_log
from benchmarks.harness import print_measure, rows_argument, timed
from millrace.catalog import Catalog
from millrace.jobs import runner
from millrace.jobs.session import SessionHolder
from millrace.spec import parse_spec
from millrace.spec.settings import Settings
from tests.servers.clickhouse import ClickHouseServer

SPEC = """
version: 1
asset: requests
source:
  log: {{path: "{path}", format: combined}}
targets:
  - clickhouse: {{connection: bench_clickhouse, order_by: [time]}}
limits: {{channels: {channels}, dirty: {{max_ratio: 1%}}}}
"""
PATTERN = r'^(\S+) (\S+) (\S+) \[([^\]]+)\] "(?:(\S+) (.*?)(?: (HTTP/[\d.]+))?|-?)" (\d{3}) (\d+|-) "(.*?)" "(.*?)"$'
ALONE = f"""
import sys
from chdb import session
path, folder = sys.argv[1:]
db = session.Session(folder)
db.query('''CREATE TABLE requests (host String, ident Nullable(String), user Nullable(String),
    time DateTime64(6, 'UTC'), method Nullable(String), path Nullable(String), protocol Nullable(String), status Int32,
    bytes Nullable(Int64), referer Nullable(String), agent Nullable(String)) ENGINE = MergeTree ORDER BY time''')
db.query('''INSERT INTO requests SELECT host, nullIf(ident, '-'), nullIf(user, '-'),
    parseDateTimeInJodaSyntax(time, 'dd/MMM/yyyy:HH:mm:ss Z', 'UTC'), nullIf(method, ''), nullIf(path, ''),
    nullIf(protocol, ''), status, toInt64OrNull(bytes), nullIf(referer, '-'), nullIf(agent, '-')
    FROM file('%s', 'Regexp', 'host String, ident String, user String, time String, method String, path String,
    protocol String, status Int32, bytes String, referer String, agent String')
    SETTINGS format_regexp = {PATTERN!r}, format_regexp_escaping_rule = 'Raw',
        format_regexp_skip_unmatched = 1''' % path)
print(db.query('SELECT count() FROM requests'))
"""


def main() -> None:
    rows = rows_argument(__doc__, 5_000_000)
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as name, ClickHouseServer() as store:
        path = Path(name) / "access.log"
        access_log(path, rows)
        os.environ["MILLRACE_CONNECTION_BENCH_CLICKHOUSE"] = store.clickhouse.new_database().url
        spec = parse_spec(SPEC.format(path=path, channels=os.cpu_count()))
        settings = Settings.from_env({"MILLRACE_HOME": name})
        with Catalog.open(settings.catalog_url) as catalog, SessionHolder(settings) as session:
            session.get()
            for _ in range(2):  # the first one warms the JVM
                report = runner.run(spec, settings, catalog, session)
                if report.error is not None:
                    raise report.error
        command = [sys.executable, "-c", ALONE, str(path), f"{name}/alone"]
        alone_s = timed(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))
    print_measure("log_to_clickhouse.run", rows / report.statistics.seconds, rows / alone_s, "rows/s")


if __name__ == "__main__":
    main()
