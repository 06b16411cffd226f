"""What arrives in a store is what was sent: every type, any number of rows of any size, or a row set aside."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from millrace.connectors.wire.arrow_types import columns_of
from millrace.errors import TargetError
from tests.conformance import values
from tests.conformance.store import StoreCase, erase, held, load, people, table
from tests.conformance.values import Value
from tests.connectors.loads import run_loader

MILLION = 1_000_000
_BATCH = 50_000
_WIDE = 300


class Loads(StoreCase):
    """A version without readers: loaded, counted, compared."""

    _typed: ClassVar[Mapping[int, Any]]
    _set_aside: ClassVar[Mapping[str, str]]

    @pytest.fixture
    def typed(self, request: pytest.FixtureRequest) -> Mapping[int, Any]:
        """The rows with every value as they come back, by id; loaded once for the case."""
        case = request.cls
        if "_typed" not in vars(case):
            batch = values.batch()
            of = self.version("v1", batch)
            target = self.target()
            target.check(of.columns)
            loaded = load(target, of, batch)
            target.publish(of)
            case._set_aside = {dirty.origin: dirty.reason for dirty in loaded.dirty}
            ids = [value.id for value in values.ALL]
            rows = self.see(ids, of.columns)
            case._typed = {id_: row for id_, row in zip(ids, rows, strict=True) if row is not None}
            assert len(case._typed) + len(loaded.dirty) == batch.num_rows == loaded.rows + len(loaded.dirty)
            clean = batch.filter(pa.array([id_ in case._typed for id_ in ids]))
            assert held(target, of, clean) == clean.num_rows
            assert target.mismatches(of, table(clean)) == []
        return self._typed

    @pytest.mark.parametrize("value", values.ALL, ids=str)
    def test_a_value_comes_back_as_it_was_sent(self, typed: Mapping[int, Any], value: Value) -> None:
        reason = self._set_aside.get(f"id={value.id}")
        assert reason is None, f"set aside: {reason}"
        got = typed[value.id][values.name_of(value.type)]
        assert values.same(got, value.value), f"got {got!r}, expected {value.value!r}"

    @pytest.mark.parametrize("count", [0, 1, 1000])
    def test_any_number_of_rows_is_there(self, count: int) -> None:
        batch, target = people(count, "ü😀"), self.target()
        of = self.version("v1", batch)
        target.check(of.columns)
        assert load(target, of, batch).rows == held(target, of, batch) == count
        assert target.mismatches(of, table(batch)) == []
        target.publish(of)
        assert self.notes(0, 999, 1000) == [*("ü😀" if id_ < count else None for id_ in (0, 999)), None]

    def test_a_load_without_any_task_is_an_empty_version(self) -> None:
        target, of = self.target(), self.version("v1", people(0))
        target.prepare(of)
        target.seal(of)
        assert held(target, of, people(0)) == 0
        target.publish(of)
        assert self.notes(1) == [None]

    def test_a_million_rows_are_there(self) -> None:
        batches = [
            pa.RecordBatch.from_pydict({"id": pa.array(range(first, first + _BATCH), pa.int64())})
            for first in range(0, MILLION, _BATCH)
        ]
        target, of = self.target(), self.version("v1", batches[0])
        assert load(target, of, *batches).rows == held(target, of, *batches) == MILLION
        assert target.mismatches(of, table(batches[-1].slice(_BATCH - 100))) == []
        erase(target, of, *batches)

    def test_wide_rows_are_there(self) -> None:
        rows = [
            {"id": row, **{f"c{n}": f"{n} {row}" if (n + row) % 3 else None for n in range(_WIDE)}} for row in range(20)
        ]
        batch = pa.RecordBatch.from_pylist(rows)
        of = self.publish("v1", batch)
        assert self.see([7, 19], of.columns) == [batch.slice(row, 1).to_pylist()[0] for row in (7, 19)]

    def test_big_values_are_there(self) -> None:
        note = "ü" + "0123456789abcdef" * (1 << 18)  # 4 MiB
        self.publish("v1", people(3, note))
        assert self.notes(2) == [note]

    def test_rows_with_one_key_leave_one_whole_row(self) -> None:
        batch = pa.RecordBatch.from_pydict(
            {
                "id": pa.array([1, 1, 2, 1], pa.int64()),
                "note": pa.array(["a", "b", "other", "c"]),
                "city": pa.array(["city a", "city b", "other", "city c"]),
            }
        )
        target, of = self.target(), self.version("v1", batch)
        assert load(target, of, batch).rows == 4
        target.publish(of)
        (row,) = self.see([1], columns_of(batch.schema))
        assert row is not None
        assert row["city"] == f"city {row['note']}", "a mix of two rows"

    def test_a_task_that_runs_twice_doubles_nothing_and_its_loader_travels(self) -> None:
        target, of = self.target(), self.version("v1", people(1))
        target.prepare(of)
        first = pickle.loads(pickle.dumps(target.loader(of)))
        first.open()
        first.load(people(3000, "dead"))
        first.close()  # killed before it could finish
        assert run_loader(pickle.loads(pickle.dumps(target.loader(of))), people(3000, "alive")).rows == 3000
        target.seal(of)
        target.seal(of)
        assert held(target, of, people(3000)) == 3000
        target.publish(of)
        assert self.notes(0, 2999) == ["alive", "alive"]

    def test_a_load_that_is_begun_again_starts_anew(self) -> None:
        target, of = self.target(), self.version("v1", people(1))
        load(target, of, people(50, "half-written"))
        assert load(target, of, people(20, "whole")).rows == 20
        assert held(target, of, people(50)) == 20
        assert target.mismatches(of, table(people(20, "whole"))) == []

    def test_a_row_that_differs_or_is_missing_is_told(self) -> None:
        target, of = self.target(), self.version("v1", people(1))
        load(target, of, people(10, "right"))
        (changed,) = target.mismatches(of, table(people(1, "wrong", start=3)))
        assert "right" in changed
        assert "wrong" in changed
        assert len(target.mismatches(of, table(people(2, "right", start=9)))) == 1

    def test_a_key_that_is_no_column_is_refused_before_anything_is_written(self) -> None:
        batch = people(1).select(["note", "city"])
        with pytest.raises(TargetError, match="'id'"):
            self.target().check(columns_of(batch.schema))
