"""The driver's end of the gate: one small server that every task of a run talks to.

It shares out the job's budget, counts what passes, keeps dirty rows until the step ends, and tells tasks to stop. A
task attempt's report replaces what an earlier attempt of the same partition reported, so a retried task counts once.
"""

from __future__ import annotations

import base64
import json
import secrets
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, Listener, answer_challenge, deliver_challenge
from typing import IO, Any

from millrace.connectors.base import DirtyRow
from millrace.connectors.gate import GateClient
from millrace.jobs.budget import DirtyLimit, RateBudget

_IN_MEMORY_BYTES = 1 << 20


@dataclass(frozen=True)
class StepLimits:
    """What one step may do: rows/s and bytes/s over all its tasks, and the dirty rows it may set aside."""

    rows_per_second: float | None = None
    bytes_per_second: float | None = None
    dirty: DirtyLimit = field(default_factory=lambda: DirtyLimit(None, None))
    dirty_before: int = 0  # rows that earlier steps set aside; they count too
    together_with: tuple[str, ...] = ()  # steps of the same pass whose rows and dirty rows count too
    expected_rows: int | None = None


@dataclass(frozen=True)
class StepCount:
    """What the tasks of a step have reported so far."""

    rows: int = 0
    size: int = 0
    dirty: int = 0
    waited_s: float = 0.0


def _spool() -> IO[bytes]:
    return tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)


@dataclass
class _Attempt:
    rows: int = 0
    size: int = 0
    dirty: int = 0
    waited_s: float = 0.0
    spool: IO[bytes] = field(default_factory=_spool)


@dataclass
class _Step:
    limits: StepLimits
    rows: RateBudget
    bytes: RateBudget
    attempts: dict[str, dict[int, _Attempt]] = field(default_factory=dict)
    settled: bool = False
    stop: str | None = None

    def counting(self) -> list[_Attempt]:
        """Of each task its latest attempt."""
        return [by_number[max(by_number)] for by_number in self.attempts.values()]


class GateServer:
    """Use as a context manager around a run. `host` must be reachable from the executors (spark.driver.host)."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._key = secrets.token_bytes(32)
        self._listener = Listener((host, 0), family="AF_INET", backlog=256)
        self._lock = threading.Lock()
        self._steps: dict[str, _Step] = {}
        self._stop: str | None = None
        self._closed = False
        address = self._listener.address
        self._address = (str(address[0]), int(address[1]))
        self._acceptor = threading.Thread(target=self._accept, name="millrace-gate", daemon=True)

    def __enter__(self) -> GateServer:
        self._acceptor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop("the run has ended")
        self._closed = True
        with suppress(OSError), socket.create_connection(self._address, timeout=1):
            pass  # wakes the acceptor, which closing the listener alone does not
        self._acceptor.join(timeout=5)
        self._listener.close()

    def open_step(self, step: str, limits: StepLimits) -> GateClient:
        """Start counting a step from nothing, and give the client that its tasks carry."""
        with self._lock:
            self._steps[step] = _Step(limits, RateBudget(limits.rows_per_second), RateBudget(limits.bytes_per_second))
        return GateClient(self._address, self._key, step)

    def stop(self, reason: str) -> None:
        """Tell every task, now and later, to stop."""
        with self._lock:
            self._stop = reason

    def count(self, step: str) -> StepCount:
        with self._lock:
            found = self._steps.get(step)
            return _total(found) if found else StepCount()

    def verdict(self, step: str) -> str | None:
        """Why this step has too many dirty rows, now that it is complete; None when it hasn't."""
        with self._lock:
            return self._verdict(self._steps[step], final=True)

    def settle(self, step: str, attempts: Mapping[str, int]) -> None:
        """From now on only these attempts count, by task: Spark may have taken another one than the latest."""
        with self._lock:
            found = self._steps[step]
            found.settled = True
            counted = {task: found.attempts.get(task, {}).get(number) for task, number in attempts.items()}
            found.attempts = {task: {0: attempt} for task, attempt in counted.items() if attempt is not None}

    def dirty_rows(self, step: str) -> Iterator[DirtyRow]:
        """The rows that the step's last attempts set aside, in no order. Call when the step has ended."""
        with self._lock:
            found = self._steps.get(step)
            attempts = found.counting() if found else []
        for attempt in attempts:
            attempt.spool.seek(0)
            for line in attempt.spool:
                row = json.loads(line)
                yield DirtyRow(row["reason"], row["origin"], base64.b64decode(row["raw"]))
            attempt.spool.seek(0, 2)

    def _accept(self) -> None:
        while not self._closed:
            try:
                link = self._listener.accept()
            except OSError:
                time.sleep(0.01)  # a client that hung up before it was accepted
                continue
            if self._closed:
                link.close()
                return
            threading.Thread(target=self._serve, args=(link,), name="millrace-gate-task", daemon=True).start()

    def _serve(self, link: Connection[Any, Any]) -> None:
        with link:
            try:
                deliver_challenge(link, self._key)
                answer_challenge(link, self._key)
                step, attempt = self._hello(json.loads(link.recv_bytes()))
                link.send_bytes(b"{}")
                while True:
                    answer = self._answer(step, attempt, json.loads(link.recv_bytes()))
                    link.send_bytes(json.dumps(answer).encode())
            except (EOFError, OSError, AuthenticationError):
                return  # the task is complete, Spark killed it, or it was a stranger on the port

    def _hello(self, message: Mapping[str, Any]) -> tuple[_Step, _Attempt]:
        with self._lock:
            step = self._steps[message["step"]]
            attempts = {} if step.settled else step.attempts.setdefault(message["task"], {})
            return step, attempts.setdefault(message["attempt"], _Attempt())  # one may have several Python workers

    def _answer(self, step: _Step, attempt: _Attempt, message: Mapping[str, Any]) -> dict[str, Any]:
        with self._lock:
            match message["op"]:
                case "admit":
                    now = time.monotonic()
                    wait = max(step.rows.book(message["rows"], now), step.bytes.book(message["size"], now))
                    return {"wait": wait, "stop": self._stop or step.stop}
                case "done":
                    _note(attempt, message)
                    step.stop = step.stop or self._verdict(step, final=False)
            return {"stop": self._stop or step.stop}

    def _verdict(self, step: _Step, *, final: bool) -> str | None:
        limits = step.limits
        totals = [_total(self._steps[name]) for name in limits.together_with if name in self._steps]
        totals.append(_total(step))
        dirty = limits.dirty_before + sum(t.dirty for t in totals)
        seen = max(t.rows for t in totals) + dirty
        return limits.dirty.verdict(dirty, seen, limits.expected_rows, final=final)


def _note(attempt: _Attempt, message: Mapping[str, Any]) -> None:
    attempt.rows += message["rows"]
    attempt.size += message["size"]
    attempt.waited_s += message["waited"]
    attempt.dirty += len(message["dirty"])
    for row in message["dirty"]:
        attempt.spool.write(json.dumps(row).encode() + b"\n")


def _total(step: _Step) -> StepCount:
    attempts = step.counting()
    return StepCount(
        rows=sum(a.rows for a in attempts),
        size=sum(a.size for a in attempts),
        dirty=sum(a.dirty for a in attempts),
        waited_s=sum(a.waited_s for a in attempts),
    )
