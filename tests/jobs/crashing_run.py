"""A run in a process of its own that dies by SIGKILL when a step begins or has just ended. Started by tests.

python -m tests.jobs.crashing_run SPEC HOME "begin stage"
python -m tests.jobs.crashing_run SPEC HOME "begin stage" RUN   does only that step, of a run that was begun before
python -m tests.jobs.crashing_run SPEC HOME "begin stage" 2026-03-01/2026-03-02   of the run for an interval
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from millrace.catalog import Catalog
from millrace.jobs import runner, steps
from millrace.jobs.context import Silent
from millrace.jobs.request import RunRequest
from millrace.jobs.session import SessionHolder
from millrace.jobs.windows import parse_window
from millrace.spec import load_spec
from millrace.spec.settings import Settings

MIDDLE_S = 1.0


class Killer(Silent):
    """Kills this process at one moment of a run; "middle" is a second after the step's beginning."""

    def __init__(self, moment: str) -> None:
        self.when, self.step = moment.split(" ")

    def _kill(self, when: str, step: str) -> None:
        if (when, step) == (self.when, self.step):
            os.kill(os.getpid(), signal.SIGKILL)

    def step_started(self, step: str) -> None:
        self._kill("begin", step)
        threading.Timer(MIDDLE_S, self._kill, ("middle", step)).start()

    def step_finished(self, step: str, stats: Mapping[str, Any]) -> None:
        self._kill("end", step)


def main() -> None:
    path, home, moment, *more = sys.argv[1:]
    intervals, run_id = [word for word in more if "/" in word], [word for word in more if "/" not in word]
    request = RunRequest(parse_window(intervals[0])) if intervals else None
    settings = Settings.from_env(
        {
            "MILLRACE_HOME": home,
            "MILLRACE_CONNECTIONS": f"{home}/connections.yaml",
            "MILLRACE_SPARK_MASTER": "local[2]",
            "MILLRACE_SPARK_CONF": "spark.driver.memory=1g",
        }
    )
    if run_id:
        steps.do_step(run_id[0], moment.split(" ")[1], settings, Killer(moment))
    with Catalog.open(settings.catalog_url) as catalog, SessionHolder(settings) as session:
        runner.run(load_spec(Path(path)), settings, catalog, session, request, Killer(moment))


if __name__ == "__main__":
    main()
