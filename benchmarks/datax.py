"""DataX as a reference, built by whoever measures: `MILLRACE_DATAX_HOME` names its folder.

No registry has DataX. From a checkout of alibaba/DataX, `mvn -DskipTests package` of common, core, transformer,
plugin-rdbms-util, mysqlreader and streamwriter makes the parts (`*/target/datax`), which together are that folder. On a
JDK newer than 8, files that import `com.alibaba.datax.common.element.*` need its `Record` by name too.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import quote

from benchmarks.harness import timed
from tests.servers.mariadb import Database

HOME = "MILLRACE_DATAX_HOME"
_HEAP = "1g"  # DataX's own default
#: By default a job sees at each tenth second whether it is done.
_SEES_AT_ONCE = {
    "job": {"reportInterval": 50, "sleepInterval": 50},
    "taskGroup": {"reportInterval": 50, "sleepInterval": 50, "channel": 5},
}


class DataX:
    """Runs mysqlreader → streamwriter, which throws the rows away."""

    def __init__(self, home: Path) -> None:
        self._home = home

    @classmethod
    def from_env(cls) -> DataX | None:
        """None when the environment names no home."""
        return cls(Path(os.environ[HOME]).resolve()) if os.environ.get(HOME) else None

    def seconds(self, database: Database, table: str, key: str, channels: int) -> float:
        """The time of a whole job, less that of a job for one row, which is the start of its JVM and plugins."""
        everything = timed(lambda: self._run(database, table, key, channels, "1 = 1"))
        return everything - timed(lambda: self._run(database, table, key, channels, f"{key} = 1"))

    def _run(self, database: Database, table: str, key: str, channels: int, where: str) -> None:
        server = database.server
        reader = {
            "username": server.user,
            "password": server.password,
            "column": ["*"],
            "splitPk": key,
            "where": where,
            "connection": [
                {
                    "table": [table],
                    "jdbcUrl": [f"jdbc:mysql://127.0.0.1:{server.port}/{quote(database.name)}?useSSL=false"],
                }
            ],
        }
        writer = {"print": False, "encoding": "UTF-8"}
        job = {
            "setting": {"speed": {"channel": channels}},
            "content": [
                {
                    "reader": {"name": "mysqlreader", "parameter": reader},
                    "writer": {"name": "streamwriter", "parameter": writer},
                }
            ],
        }
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "job.json"
            file.write_text(json.dumps({"job": job, "core": {"container": _SEES_AT_ONCE}}))
            self._engine(file)

    def _engine(self, job: Path) -> None:
        command = [
            *("java", f"-Xms{_HEAP}", f"-Xmx{_HEAP}", "-Dfile.encoding=UTF-8", f"-Ddatax.home={self._home}"),
            f"-Dlogback.configurationFile={self._home}/conf/logback.xml",
            *("-cp", f"{self._home}/lib/*:{self._home}/conf", "com.alibaba.datax.core.Engine"),
            *("-mode", "standalone", "-jobid", "-1", "-job", str(job)),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"DataX ended with {done.returncode}: {(done.stdout + done.stderr)[-3000:]}")
