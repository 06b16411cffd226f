"""Ending a run early."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from millrace.errors import Cancelled
from millrace.jobs.gate import GateServer
from millrace.jobs.session import SessionHolder
from millrace.jobs.stop import Stop
from millrace.spec import parse_spec
from tests.jobs.conftest import make_settings

SPEC = """
version: 1
asset: people
source:
  log: {path: people.json, format: json, fields: {id: bigint}}
targets:
  - redis: {connection: store, key: "{id}"}
"""


class BusySession(SessionHolder):
    """Takes a while to cancel its jobs, as a loaded driver does."""

    def __init__(self, home: Path) -> None:
        super().__init__(make_settings(home, {}))
        self.begun, self.cancelled = threading.Event(), threading.Event()

    def cancel_jobs(self) -> None:
        self.begun.set()
        time.sleep(0.3)
        self.cancelled.set()


def by_signal(_: Stop) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def by_another_thread(stop: Stop) -> None:
    threading.Thread(target=stop.now, args=("the lease is lost",), kwargs={"because": Cancelled("lost")}).start()
    raise KeyboardInterrupt


@pytest.mark.parametrize("end", [by_signal, by_another_thread])
def test_the_clean_up_begins_when_the_jobs_are_cancelled(tmp_path: Path, end: Callable[[Stop], None]) -> None:
    """A cancelling that came later would cancel the jobs of the clean-up."""
    session = BusySession(tmp_path)
    with GateServer("127.0.0.1") as gate, Stop(parse_spec(SPEC, path=tmp_path / "spec.yaml"), gate, session) as stop:
        with pytest.raises(KeyboardInterrupt) as raised:
            end(stop)
        session.begun.wait(60)
        assert isinstance(stop.reason_for(raised.value), Cancelled)
        assert session.cancelled.is_set()
