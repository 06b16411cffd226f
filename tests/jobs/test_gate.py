"""The gate between tasks and driver, over its real socket."""

from __future__ import annotations

import pickle
import socket
import threading
from collections.abc import Iterator
from unittest.mock import patch

import pytest

from millrace.connectors import gate as client_side
from millrace.connectors.base import DirtyRow
from millrace.connectors.gate import GateClient
from millrace.errors import Cancelled, TransientError
from millrace.jobs.budget import DirtyLimit
from millrace.jobs.gate import GateServer, StepLimits


@pytest.fixture
def server() -> Iterator[GateServer]:
    with GateServer() as running:
        yield running


def as_task(gate: GateClient, task: str, attempt: int) -> GateClient:
    """The client as it arrives in a task, with its connection made under that task's identity."""
    copy: GateClient = pickle.loads(pickle.dumps(gate))
    with patch.object(client_side, "task_identity", lambda: (task, attempt)):
        copy._ask({"op": "ping"})
    return copy


def dirty(reason: str) -> DirtyRow:
    return DirtyRow(reason, "file:1", b"\xff raw")


def test_reports_of_all_tasks_add_up(server: GateServer) -> None:
    gate = server.open_step("read", StepLimits())
    first, second = as_task(gate, "1:0", 1), as_task(gate, "1:1", 2)
    first.done(10, 100, [dirty("bad")])
    second.done(5, 50, waited=0.5)
    count = server.count("read")
    assert (count.rows, count.size, count.dirty, count.waited_s) == (15, 150, 1, 0.5)
    assert list(server.dirty_rows("read")) == [dirty("bad")]


def test_a_task_that_runs_again_counts_once(server: GateServer) -> None:
    gate = server.open_step("read", StepLimits())
    as_task(gate, "1:0", 1).done(10, 100, [dirty("first try")])
    as_task(gate, "1:0", 7).done(12, 120, [dirty("second try")])
    assert server.count("read").rows == 12
    assert [row.reason for row in server.dirty_rows("read")] == ["second try"]


def test_a_straggler_of_an_older_attempt_is_forgotten(server: GateServer) -> None:
    gate = server.open_step("read", StepLimits())
    old = as_task(gate, "1:0", 1)
    as_task(gate, "1:0", 2).done(3, 3)
    old.done(100, 100)
    assert server.count("read").rows == 3


def test_the_attempt_that_spark_took_counts_even_if_a_later_one_reported(server: GateServer) -> None:
    gate = server.open_step("read", StepLimits())
    as_task(gate, "1:0", 1).done(10, 100, [dirty("whole")])
    copy = as_task(gate, "1:0", 2)
    copy.done(3, 30, [dirty("a part"), dirty("of it")])
    server.settle("read", {"1:0": 1, "1:1": 3})  # task 1:1 had nothing to report
    copy.done(4, 40)
    as_task(gate, "1:0", 4).done(5, 50)
    count = server.count("read")
    assert (count.rows, count.size, count.dirty) == (10, 100, 1)
    assert [row.reason for row in server.dirty_rows("read")] == ["whole"]


def test_two_workers_of_one_attempt_share_its_report(server: GateServer) -> None:
    gate = server.open_step("read", StepLimits())
    as_task(gate, "1:0", 4).done(3, 3)
    as_task(gate, "1:0", 4).done(4, 4)
    assert server.count("read").rows == 7


def test_the_same_partition_of_another_stage_counts_apart(server: GateServer) -> None:
    gate = server.open_step("read", StepLimits())
    as_task(gate, "1:0", 1).done(3, 3)
    as_task(gate, "2:0", 9).done(4, 4)
    assert server.count("read").rows == 7


def test_too_many_dirty_rows_stop_every_task_of_the_step(server: GateServer) -> None:
    gate = server.open_step("read", StepLimits(dirty=DirtyLimit(2, None)))
    first, second = as_task(gate, "1:0", 1), as_task(gate, "1:1", 2)
    first.done(1, 1, [dirty("a"), dirty("b")])
    with pytest.raises(Cancelled, match="3 dirty records"):
        second.done(1, 1, [dirty("c")])
    with pytest.raises(Cancelled):
        first.admit(1, 1)
    assert "3 dirty records" in (server.verdict("read") or "")


def test_dirty_rows_of_the_same_pass_count_together(server: GateServer) -> None:
    limits = DirtyLimit(2, None)
    reading = as_task(server.open_step("read", StepLimits(dirty=limits)), "1:0", 1)
    casting = as_task(server.open_step("cast", StepLimits(dirty=limits, together_with=("read",))), "1:0", 1)
    reading.done(10, 10, [dirty("a"), dirty("b")])
    with pytest.raises(Cancelled, match="3 dirty records"):
        casting.done(0, 0, [dirty("c")])


def test_a_stopped_run_wakes_a_task_that_waits_for_its_budget(server: GateServer) -> None:
    gate = server.open_step("read", StepLimits(rows_per_second=1))
    task = as_task(gate, "1:0", 1)
    threading.Timer(0.2, server.stop, ("cancelled by a person",)).start()
    with pytest.raises(Cancelled, match="cancelled by a person"):
        task.admit(3600, 0)


def test_the_budget_is_shared_by_all_tasks(server: GateServer) -> None:
    gate = server.open_step("read", StepLimits(rows_per_second=1))
    waits = [as_task(gate, f"1:{number}", number)._ask({"op": "admit", "rows": 100, "size": 0}) for number in range(4)]
    assert waits == sorted(waits)
    assert waits[3] > 250, "the fourth task waits for the 300 rows that the others have booked, at a row a second"


def test_a_stranger_on_the_port_is_kept_out_and_holds_nobody_up(server: GateServer) -> None:
    gate = server.open_step("read", StepLimits())
    host, port = gate._address
    with socket.create_connection((host, port)) as silent, socket.create_connection((host, port)) as rude:
        rude.sendall(b"\x00\x00\x00\x04nope")
        as_task(gate, "1:0", 1).done(1, 1)
        assert server.count("read").rows == 1
        silent.shutdown(socket.SHUT_RDWR)


def test_a_lost_driver_is_a_transient_error() -> None:
    with GateServer() as server:
        gate = server.open_step("read", StepLimits())
    with pytest.raises(TransientError, match="lost the driver"):
        gate.admit(1, 1)
