"""Ways for a run to end early: the timeout, Ctrl-C or SIGTERM, a lost lease, a step that failed beside another."""

from __future__ import annotations

import signal
import threading
from contextlib import suppress
from typing import Any

from millrace.errors import Cancelled, MillraceError, RunFailed, RunTimeout
from millrace.jobs.gate import GateServer
from millrace.jobs.session import SessionHolder
from millrace.spec import Spec

_PATIENCE_S = 30.0
_AFTER_CANCEL = "run it again when you like: readers have the version that they had"


class Stop:
    """Stops a run's tasks and Spark jobs, whatever the cause, and remembers the cause. A context manager of one run."""

    def __init__(self, spec: Spec, gate: GateServer, session: SessionHolder) -> None:
        self._gate = gate
        self._session = session
        self._limit = spec.limits.timeout
        self._timer: threading.Timer | None = None
        self._cause: BaseException | None = None
        self._old_handlers: dict[int, Any] = {}
        self._carrying_out = threading.RLock()
        self._interrupted: threading.Thread | None = None
        self.stopped = threading.Event()

    def __enter__(self) -> Stop:
        if self._limit is not None:
            seconds = self._limit.total_seconds()
            late = RunTimeout(
                f"the run took longer than limits.timeout ({seconds:.0f} s)",
                hint="see which step was slow with `millrace status`; raise limits.timeout or limits.channels",
            )
            self._timer = threading.Timer(seconds, self.now, ("timeout",), {"because": late})
            self._timer.daemon = True
            self._timer.start()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._old_handlers[number] = signal.signal(number, self._interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)

    def _interrupt(self, number: int, _frame: object) -> None:
        if self.stopped.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt  # asked twice: don't wait for the clean-up
        name = signal.Signals(number).name
        self._cause = self._cause or Cancelled(f"the run was cancelled by {name}", hint=_AFTER_CANCEL)
        self.stopped.set()
        self._interrupted = threading.Thread(target=self.now, args=(f"cancelled by {name}",), daemon=True)
        self._interrupted.start()
        raise KeyboardInterrupt

    def now(self, reason: str, because: BaseException | None = None) -> None:
        """Stop every task and every Spark job of this run."""
        with self._carrying_out:
            self._cause = self._cause or because
            self.stopped.set()
            self._gate.stop(reason)
            with suppress(Exception):  # the session may be gone already; the gate has told the tasks
                self._session.cancel_jobs()

    def check(self) -> None:
        """Raise what stopped the run, if anything has."""
        if self.stopped.is_set():
            raise self.reason_for(Cancelled("the run was stopped"))

    def reason_for(self, raised: BaseException) -> MillraceError:
        """The error to report when `raised` may only be the echo of a stop.

        Waits for a stop that is being carried out, so that it can't cancel the jobs of the clean-up that follows.
        """
        if self._interrupted is not None:
            self._interrupted.join(_PATIENCE_S)
        if self._carrying_out.acquire(timeout=_PATIENCE_S):
            self._carrying_out.release()
        if isinstance(self._cause, MillraceError):
            return self._cause
        if isinstance(raised, KeyboardInterrupt):
            return Cancelled("the run was cancelled", hint=_AFTER_CANCEL)
        return raised if isinstance(raised, MillraceError) else RunFailed(str(raised))
