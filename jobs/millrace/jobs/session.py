"""The Spark session of a run: started in the background, quickly, with only what a run needs.

On a local master the driver's JVM is started directly, without spark-submit's launcher (a shell and a JVM of its own),
and with a class-data-sharing archive when there is one (JEP 350). Other masters go through PySpark's own launcher.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from millrace.errors import ConfigError
from millrace.jobs.configuration import configuration
from millrace.jobs.launch import end_jvm, gateway
from millrace.jobs.sharing import refuse_plain_folder
from millrace.jobs.shipping import code_archive
from millrace.spec.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


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
            if self.local:
                threading.Thread(target=_wake_workers, args=(self._session,), daemon=True).start()
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
            port, secret = gateway(conf)
            os.environ["PYSPARK_GATEWAY_PORT"], os.environ["PYSPARK_GATEWAY_SECRET"] = str(port), secret
    builder = SparkSession.builder.appName(app_name)
    for name, value in conf.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    if not conf["spark.master"].startswith("local") and "spark.submit.pyFiles" not in settings.spark_conf:
        session.sparkContext.addPyFile(str(code_archive()))
    return session


def _wake_workers(session: SparkSession) -> None:
    """Have the process started that Python workers are forked from, while the run does something else."""
    with suppress(Exception):  # of a session that is stopped meanwhile; the first real task would tell
        session.sparkContext.parallelize([0], 1).foreach(_nothing)


def _nothing(_: int) -> None:
    """A task that only needs a worker."""


def _own_address() -> str:
    import socket

    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError as error:
        raise ConfigError(
            "this host's own address can't be found, so executors could not reach the driver",
            hint="set spark.driver.host in MILLRACE_SPARK_CONF",
        ) from error
