"""How a step's process is started: by this interpreter on a local master, by `spark-submit` on any other one."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from millrace.dags import connections, driver
from millrace.errors import ConfigError
from millrace.jobs import jvm
from millrace.spec.settings import Settings

STEP_MODULE = "millrace.dags.step"
_BINARIES = ("spark-submit", "spark2-submit", "spark3-submit")


@dataclass(frozen=True)
class Submission:
    """A command, to which the step's request is added, and what its environment has besides."""

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


def submission(spark_connection: str = "") -> Submission:
    """How to start a step here: where the Airflow connection of type spark says, else where the settings say.

    Raises ConfigError for a connection that can't be used.
    """
    settings = Settings.from_env()
    if not spark_connection:
        return of_master(settings.spark_master, settings.spark_conf)
    known = connections.lookup(spark_connection)
    if known is None:
        raise ConfigError(
            f"Airflow has no connection '{spark_connection}', which 'spark' in airflow.yaml names",
            hint="add one of type spark: its host is the master, e.g. spark://spark-master, its port 7077",
        )
    return of_connection(spark_connection, known.host or "", known.port, known.extra_dejson, settings.spark_conf)


def of_connection(
    name: str, host: str, port: int | None, extra: Mapping[str, Any], conf: Mapping[str, str]
) -> Submission:
    """The submission that a connection of the Spark provider's form asks for. Pure. Raises ConfigError."""
    mode = extra.get("deploy-mode") or extra.get("deploy_mode") or "client"
    if mode != "client":
        raise ConfigError(
            f"the connection '{name}' asks for deploy-mode '{mode}', and a step's driver runs in its task",
            hint="set deploy-mode to client: so the task's log is the driver's, and killing the task ends the job",
        )
    binary = extra.get("spark-binary") or extra.get("spark_binary") or ""
    if binary and binary not in _BINARIES:
        raise ConfigError(
            f"the connection '{name}' names the program '{binary}'", hint=f"use one of {', '.join(_BINARIES)}"
        )
    more = {}
    if extra.get("queue"):
        more["spark.yarn.queue"] = str(extra["queue"])
    if extra.get("namespace"):
        more["spark.kubernetes.namespace"] = str(extra["namespace"])
    return of_master(f"{host}:{port}" if port else host or "local[*]", {**conf, **more}, binary)


def of_master(master: str, conf: Mapping[str, str], binary: str = "") -> Submission:
    """The submission to a master URL. Pure but for the place of `spark-submit`."""
    environment = {"MILLRACE_SPARK_MASTER": master}
    if master.startswith("local") and not binary:
        return Submission((sys.executable, "-m", STEP_MODULE), environment)
    options = [word for key, value in conf.items() for word in ("--conf", f"{key}={value}")]
    if "spark.driver.extraJavaOptions" not in conf:
        options += ["--driver-java-options", f"-Dlog4j2.configurationFile={jvm.LOGGING}"]
    return Submission(
        (binary or _own_submit(), "--master", master, *options, str(Path(driver.__file__).with_name("main.py"))),
        {**environment, "PYSPARK_PYTHON": os.environ.get("PYSPARK_PYTHON", sys.executable)},
    )


def _own_submit() -> str:
    return str(jvm.spark_home() / "bin" / "spark-submit")
