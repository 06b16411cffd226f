"""The task's end of the gate: budget, dirty rows and statistics of a run, over one TCP connection to the driver.

Messages are JSON over `multiprocessing.connection`, which frames them and proves the shared key by HMAC. One task
attempt is one connection; the driver forgets what an earlier attempt of the same partition said.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Sequence
from multiprocessing.connection import Client, Connection
from typing import Any

from millrace.connectors.base import MAX_RAW_BYTES, DirtyRow
from millrace.errors import Cancelled, TransientError

_LONGEST_SLEEP_S = 0.5


class GateClient:
    """A `Gate` for the tasks of one step. Pickles as an address; connects when it is first used in a task."""

    def __init__(self, address: tuple[str, int], key: bytes, step: str) -> None:
        self._address = address
        self._key = key
        self._step = step
        self._link: Connection[Any, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_link": None}

    def admit(self, rows: int, size: int) -> None:
        """Wait for the job's budget; see `Gate.admit`. Wakes at least twice a second to see whether the run stopped."""
        wait = self._ask({"op": "admit", "rows": rows, "size": size})
        deadline = time.monotonic() + wait
        while (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, _LONGEST_SLEEP_S))
            if left > _LONGEST_SLEEP_S:
                self._ask({"op": "ping"})

    def done(self, rows: int, size: int, dirty: Sequence[DirtyRow] = (), waited: float = 0.0) -> None:
        """Report a batch; see `Gate.done`."""
        rows_set_aside = [_to_json(row) for row in dirty]
        self._ask({"op": "done", "rows": rows, "size": size, "dirty": rows_set_aside, "waited": waited})

    def close(self) -> None:
        """Hang up. The next call connects again, as the same attempt."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def _ask(self, message: dict[str, Any]) -> float:
        try:
            link = self._connect()
            link.send_bytes(json.dumps(message).encode())
            answer = json.loads(link.recv_bytes())
        except (OSError, EOFError) as error:
            raise TransientError(
                f"a task of step '{self._step}' lost the driver at {self._address[0]}:{self._address[1]}: {error}",
                hint="the driver has ended, or a firewall stands between it and the executor (spark.driver.host)",
            ) from error
        if answer.get("stop"):
            raise Cancelled(answer["stop"])
        return float(answer.get("wait", 0.0))

    def _connect(self) -> Connection[Any, Any]:
        if self._link is None:
            self._link = Client(self._address, family="AF_INET", authkey=self._key)
            task, attempt = task_identity()
            hello = {"op": "hello", "step": self._step, "task": task, "attempt": attempt}
            self._link.send_bytes(json.dumps(hello).encode())
            self._link.recv_bytes()
        return self._link


def task_identity() -> tuple[str, int]:
    """("stage:partition", task attempt id) of the Spark task that we are in; ("driver", 0) outside of one."""
    from pyspark import TaskContext

    context = TaskContext.get()
    return (f"{context.stageId()}:{context.partitionId()}", context.taskAttemptId()) if context else ("driver", 0)


def _to_json(row: DirtyRow) -> dict[str, str]:
    raw = base64.b64encode(row.raw[:MAX_RAW_BYTES]).decode()
    return {"reason": row.reason, "origin": row.origin, "raw": raw}
