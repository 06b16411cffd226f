"""A step in a process of its own, watched by its Airflow task: its lines go to the log, and it ends with the task."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from millrace.dags import launch
from millrace.dags.request import StepFailure, StepOutcome, StepRequest
from millrace.dags.submission import Submission

_STOP_GRACE_S = 20.0  # for the step to stop its Spark jobs; then it is killed


class StepProcess:
    """One step's process. `run` waits for its end; `stop` may be called meanwhile, also from a signal's handler."""

    def __init__(
        self,
        request: StepRequest,
        how: Submission,
        environment: Mapping[str, str],
        say: Callable[[str], None],
    ) -> None:
        self._request = request
        self._how = how
        self._environment = {**how.environment, **environment}
        self._say = say
        self._process: subprocess.Popen[str] | None = None
        self._stopped = ""

    def run(self, timeout_s: float | None = None) -> StepOutcome:
        """Start it, hand on its lines, and give how it went. After `timeout_s` it is stopped; that is no retry."""
        folder = Path(tempfile.mkdtemp(prefix="millrace-step-"))
        request, answer = folder / "request.json", folder / "outcome.json"
        request.write_text(self._request.to_json(), encoding="utf-8")
        try:
            code = self._watch([*self._how.command, str(request), str(answer)], timeout_s)
            return self._outcome(answer, code)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def stop(self, why: str = "the task was stopped") -> None:
        """Ask the process to stop; kill it, and all that it has started, when it hasn't in 20 s. Returns at once."""
        self._stopped = self._stopped or why
        process = self._process
        if process is None or process.poll() is not None:
            return
        self._signal(signal.SIGTERM)
        killer = threading.Timer(_STOP_GRACE_S, self._signal, (signal.SIGKILL,))
        killer.daemon = True
        killer.start()

    def _watch(self, command: list[str], timeout_s: float | None) -> int:
        if self._stopped:
            return -signal.SIGTERM
        launcher = [sys.executable, "-I", "-S", launch.__file__, str(os.getpid())]
        self._process = process = subprocess.Popen(
            [*launcher, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **self._environment},
            text=True,
            errors="replace",
            start_new_session=True,
        )
        late = f"the run took longer than limits.timeout; {timeout_s or 0:.0f} s were left for this step"
        timer = threading.Timer(max(timeout_s, 0), self.stop, (late,)) if timeout_s is not None else None
        if timer is not None:
            timer.daemon = True
            timer.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                self._say(line.rstrip())
            return process.wait()
        finally:
            if timer is not None:
                timer.cancel()
            self._signal(signal.SIGKILL)  # what it may have left behind in its group

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _outcome(self, answer: Path, code: int) -> StepOutcome:
        step, asset = self._request.step, self._request.asset
        try:
            outcome = StepOutcome.from_json(answer.read_text(encoding="utf-8"))
        except FileNotFoundError:
            outcome = StepOutcome()
        if self._stopped:
            error = StepFailure("Stopped", f"step '{step}' of {asset} was stopped: {self._stopped}")
            return StepOutcome(outcome.run_id, error=error)
        if outcome.error is None and code:
            ended = f"by {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
            lost = StepFailure(
                "DriverLost",
                f"the process of step '{step}' of {asset} ended {ended} before it was done",
                hint="its last lines stand above; often there is too little memory (spark.driver.memory)",
                transient=True,
            )
            return StepOutcome(outcome.run_id, error=lost)
        return outcome
