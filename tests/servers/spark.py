"""A real Spark cluster of Spark's own standalone kind: a master and workers, each with a folder of its own."""

from __future__ import annotations

import os
import signal
import stat
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from millrace.jobs import jvm
from tests.servers.process import HOST, ServerProcess, descendants, free_port

_DEPLOY = "org.apache.spark.deploy"


class _SparkDaemon(ServerProcess):
    """A JVM of Spark's, from pyspark's own jars."""

    start_timeout_s: ClassVar[float] = 120.0

    def __init__(self) -> None:
        super().__init__()
        self.ui_port = free_port()

    def java(self, name: str, *words: str) -> list[str]:
        opens = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in jvm.OPENS]
        small = ("-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+IgnoreUnrecognizedVMOptions")
        return [str(jvm.java()), *small, *opens, "-cp", f"{jvm.spark_home()}/jars/*", f"{_DEPLOY}.{name}", *words]

    def environment(self) -> Mapping[str, str]:
        return {"SPARK_HOME": str(jvm.spark_home()), "SPARK_LOCAL_IP": HOST, "SPARK_SCALA_VERSION": "2.13"}


class SparkMaster(_SparkDaemon):
    name = "spark-master"

    @property
    def url(self) -> str:
        return f"spark://{HOST}:{self.port}"

    def command(self) -> Sequence[str]:
        return self.java("master.Master", "--host", HOST, "--port", str(self.port), "--webui-port", str(self.ui_port))


class SparkWorker(_SparkDaemon):
    """One core; what its executors write, and what is shipped to them, lies in `folder`."""

    name = "spark-worker"

    def __init__(self, master: SparkMaster) -> None:
        super().__init__()
        self._master = master

    def command(self) -> Sequence[str]:
        place = ("--host", HOST, "--port", str(self.port), "--webui-port", str(self.ui_port))
        size = ("--cores", "1", "--memory", "768m", "--work-dir", str(self.folder / "work"))
        return self.java("worker.Worker", *place, *size, self._master.url)

    @property
    def executors(self) -> list[Path]:
        """The folder of each executor that ran here."""
        return sorted(path.parent for path in (self.folder / "work").glob("app-*/*/stderr"))

    def kill_python(self) -> int:
        """SIGKILL what tasks run in, with the process that it is forked from; how many processes that were."""
        found = [pid for pid in descendants(self.pid) if Path(f"/proc/{pid}/comm").read_text().startswith("python")]
        for pid in found:
            os.kill(pid, signal.SIGKILL)
        return len(found)


class SparkCluster:
    """A master with two workers. Their Python has what millrace needs, and not millrace itself: `python`."""

    def __init__(self) -> None:
        self.master = SparkMaster()
        self.workers = tuple(SparkWorker(self.master) for _ in range(2))

    @property
    def python(self) -> Path:
        """An interpreter that sees the installed packages, but no package that is installed as editable."""
        script = self.master.folder / "python"
        packages = sysconfig.get_path("purelib")
        script.write_text(
            f'#!/bin/sh\nPYTHONPATH="{packages}:$PYTHONPATH" exec "{Path(sys.executable).resolve()}" -S "$@"\n'
        )
        script.chmod(script.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
        return script

    def __enter__(self) -> Self:
        try:
            for server in (self.master, *self.workers):
                server.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        for server in (*self.workers, self.master):
            server.stop()
