"""The Spark session of a run: started in the background, quickly, with only what a run needs.

On a local master the driver's JVM is started directly, without spark-submit's launcher (a shell and a JVM of its own),
and with a class-data-sharing archive when there is one (JEP 350). Other masters go through PySpark's own launcher.
"""

from __future__ import annotations

import atexit
import importlib
import os
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from millrace.errors import ConfigError, TransientError
from millrace.jobs import jvm
from millrace.jobs.sharing import refuse_plain_folder
from millrace.jobs.shipping import code_archive
from millrace.spec.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_START_TIMEOUT_S = 120.0
_GATEWAY_BYTES = 9

_ALWAYS: Mapping[str, str] = {
    "spark.sql.ansi.enabled": "true",
    "spark.scheduler.mode": "FAIR",  # targets are loaded side by side
    "spark.sql.session.timeZone": "UTC",
    "spark.python.sql.dataFrameDebugging.enabled": "false",  # six calls to the JVM for each expression that is written
    "spark.sql.execution.arrow.maxRecordsPerBatch": "32768",
    "spark.sql.execution.arrow.maxBytesPerBatch": str(64 << 20),  # rows of megabytes must not fill a worker
    "spark.sql.execution.arrow.pythonUDF.columnarInput.enabled": "false",  # hangs over Parquet in 4.2.0: SPARK-58241
    "spark.sql.parquet.compression.codec": "zstd",
    "spark.sql.adaptive.coalescePartitions.parallelismFirst": "true",
}
_LOCAL: Mapping[str, str] = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.catalogImplementation": "in-memory",
    "spark.sql.shuffle.partitions": "8",
    "spark.executor.heartbeatInterval": "1s",
}

_jvms: list[subprocess.Popen[bytes]] = []


class SessionHolder:
    """Starts one Spark session when asked, in the background, and stops it. Usable from several threads."""

    def __init__(self, settings: Settings, app_name: str = "millrace", channels: int = 0) -> None:
        self._settings = settings
        self._app_name = app_name
        self._channels = channels
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._session: SparkSession | None = None
        self._error: BaseException | None = None
        self.seconds = 0.0

    @property
    def local(self) -> bool:
        return self._settings.spark_master.startswith("local")

    @property
    def gate_host(self) -> str:
        """The address at which executors reach the driver."""
        return "127.0.0.1" if self.local else self._settings.spark_conf.get("spark.driver.host", _own_address())

    def start(self) -> None:
        """Begin to start the session; returns at once. A second call does nothing."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._start, name="millrace-session", daemon=True)
                self._thread.start()

    def get(self) -> SparkSession:
        """The session, waiting for it. Raises ConfigError or TransientError when it can't be started."""
        self.start()
        assert self._thread is not None
        while self._thread.is_alive():
            self._thread.join(timeout=0.2)  # in slices, so that Ctrl-C gets through
        if self._error is not None:
            raise self._error
        assert self._session is not None
        return self._session

    def peek(self) -> SparkSession | None:
        """The session if it is there already."""
        return self._session

    def cancel_jobs(self) -> None:
        """Cancel every running job, if there is a session."""
        if self._session is not None:
            self._session.sparkContext.cancelAllJobs()

    def stop(self) -> None:
        """Stop the session, and the JVM where this process started it. The holder can be started again."""
        if self._thread is not None:
            self._thread.join()
        if self._session is not None:
            self._session.stop()
            end_jvm()
        self._thread, self._session, self._error = None, None, None

    def leave(self) -> None:
        """Stop it as `stop` does, at the end of this process: a local JVM does its own part unwaited for."""
        if self.local and self._session is not None:
            end_jvm()
        else:
            self.stop()

    def __enter__(self) -> SessionHolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self) -> None:
        started = time.perf_counter()
        try:
            self._session = spark_session(self._settings, self._app_name, self._channels)
        except BaseException as error:
            self._error = error
        self.seconds = time.perf_counter() - started


def spark_session(settings: Settings, app_name: str = "millrace", channels: int = 0) -> SparkSession:
    """Make or get the session. On `local[*]`, there are as many slots as cores, or as channels where those are more.

    Executors elsewhere get millrace's own code, unless `spark.submit.pyFiles` names what they get.

    Raises ConfigError without a JDK 17, and TransientError when the JVM ends or doesn't answer in two minutes.
    """
    refuse_plain_folder(settings)
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    threading.Thread(target=importlib.import_module, args=("pandas",), daemon=True).start()  # while the JVM starts
    conf = configuration(settings, channels)
    if settings.spark_master.startswith("local"):
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # not the python3 of the PATH, which may lack millrace
        if SparkContext._gateway is None:
            _start_jvm(conf)
    builder = SparkSession.builder.appName(app_name)
    for name, value in conf.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    if not conf["spark.master"].startswith("local") and "spark.submit.pyFiles" not in settings.spark_conf:
        session.sparkContext.addPyFile(str(code_archive()))
    return session


def configuration(settings: Settings, channels: int) -> dict[str, str]:
    """The session's Spark configuration: ours below, the user's `spark_conf` on top. Pure."""
    master = settings.spark_master
    if master == "local[*]" and channels:
        master = f"local[{max(channels, os.cpu_count() or 1)}]"
    conf = {**_ALWAYS, **(_LOCAL if master.startswith("local") else {})}
    jars = jvm.extra_jars()
    if jars:
        conf["spark.jars" if not master.startswith("local") else "spark.driver.extraClassPath"] = (
            "," if not master.startswith("local") else ":"
        ).join(str(jar) for jar in jars)
    return {**conf, "spark.master": master, **settings.spark_conf}


def _start_jvm(conf: Mapping[str, str]) -> None:
    """Start the driver's JVM and let PySpark connect to it. It ends when this process does: its stdin closes."""
    folder = Path(tempfile.mkdtemp(prefix="millrace-jvm-"))
    answer = folder / "gateway"
    process = subprocess.Popen(
        jvm.command(conf),
        stdin=subprocess.PIPE,
        env={
            "SPARK_LOCAL_IP": "127.0.0.1",
            **os.environ,
            "_PYSPARK_DRIVER_CONN_INFO_PATH": str(answer),
            "SPARK_HOME": str(jvm.spark_home()),
        },
        start_new_session=True,  # Ctrl-C is ours to handle
    )
    try:
        port, secret = _read_gateway(process, answer)
    finally:
        answer.unlink(missing_ok=True)
        folder.rmdir()
    os.environ["PYSPARK_GATEWAY_PORT"], os.environ["PYSPARK_GATEWAY_SECRET"] = str(port), secret
    _jvms.append(process)
    atexit.register(end_jvm)


def _read_gateway(process: subprocess.Popen[bytes], answer: Path) -> tuple[int, str]:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not answer.exists() or answer.stat().st_size < _GATEWAY_BYTES:
        if process.poll() is not None:
            raise TransientError(
                f"Spark's JVM ended with code {process.returncode} while it started",
                hint="its own message stands above; often there is too little memory (spark.driver.memory)",
            )
        if time.monotonic() > deadline:
            process.kill()
            raise TransientError(f"Spark's JVM did not answer within {_START_TIMEOUT_S:.0f} s", hint="run it again")
        time.sleep(0.01)
    data = answer.read_bytes()  # int32 port, int32 length, secret: what PySpark's own launcher reads
    port, length = struct.unpack("!ii", data[:8])
    return port, data[8 : 8 + length].decode()


def end_jvm() -> None:
    """Let the JVM that this process has started end by itself, if there is one: it does so when its stdin closes."""
    while _jvms:
        process = _jvms.pop()
        if process.stdin is not None:
            process.stdin.close()


def _own_address() -> str:
    import socket

    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError as error:
        raise ConfigError(
            "this host's own address can't be found, so executors could not reach the driver",
            hint="set spark.driver.host in MILLRACE_SPARK_CONF",
        ) from error
