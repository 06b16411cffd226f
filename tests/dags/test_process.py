"""A step's process: its lines reach the log, how it went is known whatever happens, and nothing of it is left."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from millrace.dags.process import StepProcess
from millrace.dags.request import StepFailure, StepOutcome, StepRequest
from millrace.dags.submission import Submission, of_connection, of_master
from millrace.errors import ConfigError
from tests.servers.process import wait_until

REQUEST = StepRequest(step="stage", asset="plays", spec="plays.yaml", key="manual__1", run_id="r1")
OUTCOME = StepOutcome("r1", {"rows_read": 3})
PRELUDE = "import json, os, signal, subprocess, sys, time; request, answer = sys.argv[1:]\n"
ANSWERS = PRELUDE + f"open(answer, 'w').write({OUTCOME.to_json()!r})\n"


class Step:
    """A step whose process runs some Python; `lines` is what it said."""

    def __init__(self, code: str) -> None:
        self.lines: list[str] = []
        self.said = threading.Event()
        self.process = StepProcess(REQUEST, Submission((sys.executable, "-c", code)), {"OF_THE_TASK": "yes"}, self._say)

    def _say(self, line: str) -> None:
        self.lines.append(line)
        self.said.set()

    def run(self, timeout_s: float | None = None) -> StepOutcome:
        return self.process.run(timeout_s)

    def stop_when_it_speaks(self) -> None:
        def stop() -> None:
            self.said.wait(60)
            self.process.stop("somebody asked for it")

        threading.Thread(target=stop, daemon=True).start()


def alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def test_its_lines_and_its_outcome_come_back() -> None:
    step = Step(ANSWERS + "print('one'); print('two', os.environ['OF_THE_TASK'], file=sys.stderr, flush=True)")
    assert step.run() == OUTCOME
    assert sorted(step.lines) == ["one", "two yes"]


def test_it_is_told_what_to_do() -> None:
    step = Step(
        PRELUDE + "print(json.load(open(request))['step'], oct(os.stat(os.path.dirname(request)).st_mode & 0o777))"
    )
    step.run()
    assert step.lines == ["stage 0o700"]


def test_a_failure_comes_back_as_it_was() -> None:
    failed = StepOutcome("r1", error=StepFailure("CheckFailed", "2 of 3 checks refused the data", "mend it"))
    step = Step(PRELUDE + f"open(answer, 'w').write({failed.to_json()!r}); sys.exit(1)")
    assert step.run() == failed


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), signal.SIGKILL)", "sys.exit(7)", "os.abort()"])
def test_a_lost_driver_is_found_out_and_may_be_tried_again(end: str) -> None:
    outcome = Step(PRELUDE + f"print('working', flush=True); {end}").run()
    assert outcome.error is not None
    assert outcome.error.kind == "DriverLost"
    assert outcome.error.transient


def test_a_run_that_was_begun_is_known_even_when_its_driver_is_lost() -> None:
    outcome = Step(ANSWERS + "os.kill(os.getpid(), signal.SIGKILL)").run()
    assert outcome.run_id == "r1"
    assert outcome.error is not None


def test_stop_ends_it_with_all_that_it_has_started() -> None:
    code = PRELUDE + "print(subprocess.Popen(['sleep', '600']).pid, flush=True); time.sleep(600)"
    step = Step(code)
    step.stop_when_it_speaks()
    outcome = step.run()
    assert outcome.error == StepFailure("Stopped", "step 'stage' of plays was stopped: somebody asked for it")
    wait_until(lambda: not alive(int(step.lines[0])), "the grandchild to end")


def test_a_step_that_takes_too_long_is_stopped_and_not_tried_again() -> None:
    outcome = Step(PRELUDE + "time.sleep(600)").run(timeout_s=0.5)
    assert outcome.error is not None
    assert "limits.timeout" in outcome.error.message
    assert not outcome.error.transient


def test_it_ends_when_its_task_is_killed(tmp_path: Path) -> None:
    task = f"""
from tests.dags.test_process import Step, PRELUDE
Step(PRELUDE + "open({str(tmp_path / "pid")!r}, 'w').write(str(os.getpid())); time.sleep(600)").run()
"""
    with subprocess.Popen([sys.executable, "-c", task]) as process:
        wait_until(
            lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "", "the step to start", 60
        )
        os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: not alive(int((tmp_path / "pid").read_text())), "the step to end with its task")


def test_a_local_master_needs_no_spark_submit() -> None:
    made = of_master("local[2]", {"spark.driver.memory": "1g"})
    assert made.command == (sys.executable, "-m", "millrace.dags.step")
    assert made.environment == {"MILLRACE_SPARK_MASTER": "local[2]"}


def test_any_other_master_gets_its_job_by_spark_submit() -> None:
    made = of_master("spark://main:7077", {"spark.executor.memory": "4g"})
    program, *arguments, file = made.command
    assert program.endswith("bin/spark-submit")
    assert arguments[:4] == ["--master", "spark://main:7077", "--conf", "spark.executor.memory=4g"]
    assert arguments[4] == "--driver-java-options"
    assert file.endswith("millrace/dags/driver/main.py")
    assert made.environment["MILLRACE_SPARK_MASTER"] == "spark://main:7077"


def test_a_connection_of_type_spark_says_where_it_runs() -> None:
    made = of_connection("spark_main", "yarn", None, {"queue": "nightly", "spark-binary": "spark3-submit"}, {})
    assert made.command[:5] == ("spark3-submit", "--master", "yarn", "--conf", "spark.yarn.queue=nightly")


@pytest.mark.parametrize("extra", [{"deploy-mode": "cluster"}, {"spark-binary": "/bin/sh -c"}])
def test_a_connection_that_would_lose_the_driver_or_run_anything_is_refused(extra: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="spark_main"):
        of_connection("spark_main", "yarn", None, extra, {})
