"""The loop that moves batches from Spark to a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.connectors.base import DirtyRow, Loaded
from millrace.connectors.channel import RefusedBatch, run_channel


@dataclass
class ListStore:
    """A store in memory that refuses whole batches with a bad value in them, and can confirm late."""

    bad: frozenset[int] = frozenset()
    late: bool = False
    rows: list[int] = field(default_factory=list)
    calls: int = 0
    closed: bool = False
    _waiting: int = 0

    def open(self) -> None:
        self.closed = False

    def load(self, batch: pa.RecordBatch) -> Loaded:
        self.calls += 1
        values = [int(value) for value in batch.column(0).to_pylist() if value is not None]
        if self.bad & set(values):
            raise RefusedBatch("the store says no")
        self.rows += values
        if not self.late:
            return Loaded(len(values), 8 * len(values))
        confirmed, self._waiting = self._waiting, len(values)
        return Loaded(confirmed, 8 * confirmed)

    def finish(self) -> Loaded:
        confirmed, self._waiting = self._waiting, 0
        return Loaded(confirmed, 8 * confirmed)

    def close(self) -> None:
        self.closed = True


@dataclass
class OpenGate:
    dirty: list[DirtyRow] = field(default_factory=list)
    rows: int = 0

    def admit(self, rows: int, size: int) -> None:
        """There is no budget."""

    def done(self, rows: int, size: int, dirty: Sequence[DirtyRow] = (), waited: float = 0.0) -> None:
        self.rows += rows
        self.dirty += dirty


def batches(*sizes: int) -> list[pa.RecordBatch]:
    made, start = [], 0
    for size in sizes:
        made.append(pa.RecordBatch.from_pydict({"id": pa.array(range(start, start + size), pa.int64())}))
        start += size
    return made


@given(bad=st.frozensets(st.integers(0, 999), max_size=20))
def test_bad_rows_are_set_aside_and_all_others_are_loaded(bad: frozenset[int]) -> None:
    store, gate = ListStore(bad), OpenGate()
    totals = run_channel(batches(400, 0, 600), store, gate)
    assert sorted(store.rows) == sorted(set(range(1000)) - bad)
    assert (totals.rows, totals.dirty) == (1000 - len(bad), len(bad)) == (gate.rows, len(gate.dirty))
    assert {int(row.origin.removeprefix("id=")) for row in gate.dirty} == bad


def test_one_bad_row_among_many_is_found_in_few_tries() -> None:
    store = ListStore(frozenset({777}))
    run_channel(batches(1024), store, OpenGate())
    assert store.calls <= 2 * 10 + 1


def test_late_confirmations_are_waited_for() -> None:
    totals = run_channel(batches(5, 5, 5), ListStore(late=True), OpenGate())
    assert totals.rows == 15


def test_only_confirmed_rows_of_clean_batches_are_sampled() -> None:
    totals = run_channel(batches(500, 500), ListStore(frozenset({750}), late=False), OpenGate())
    sample = pa.ipc.open_stream(totals.sample_bytes()).read_all().column(0).to_pylist()
    assert sample == list(range(400, 500))


def test_nothing_to_load_gives_an_empty_sample() -> None:
    totals = run_channel([], ListStore(), OpenGate())
    assert (totals.rows, totals.sample_bytes()) == (0, b"")


def test_the_loader_is_closed_after_a_failure() -> None:
    class Broken(ListStore):
        def load(self, batch: pa.RecordBatch) -> Loaded:
            raise OSError("gone")

    store = Broken()
    with pytest.raises(OSError, match="gone"):
        run_channel(batches(1), store, OpenGate())
    assert store.closed
