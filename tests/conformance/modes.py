"""Runs that change what is there: rows merged by their key, intervals overwritten; done again, nothing changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from millrace.connectors.base import Version, Window
from millrace.connectors.wire.arrow_types import columns_of
from millrace.errors import TargetError
from millrace.spec.connector import Mode
from tests.conformance.store import StoreCase, held, load, people, table

_DAY = timedelta(days=1)
_FIRST = datetime(2026, 3, 1, tzinfo=UTC)


def events(day: int, count: int, note: str) -> pa.RecordBatch:
    """Rows of one day, whose ids begin at a thousand times the day; `at` is their time."""
    at = [_FIRST + _DAY * (day - 1) + timedelta(minutes=n) for n in range(count)]
    return people(count, note, start=day * 1000).append_column("at", pa.array(at, pa.timestamp("us", "UTC")))


def window(day: int) -> Window:
    return Window(_FIRST + _DAY * (day - 1), _FIRST + _DAY * day)


class Modes(StoreCase):
    """`merge` and `append`; `replace` is what the other behaviours do."""

    def test_a_merge_changes_rows_and_takes_them_away_and_is_the_same_when_repeated(self) -> None:
        self._merge("m1", people(5, "first"))
        gone = pa.array([True, False, None])
        changes = people(3, "second", start=3).append_column("gone", gone)
        for id_ in ("m2", "m3"):
            of, target = self._merge(id_, changes, deletes="gone")
            kept, away = changes.slice(1), changes.slice(0, 1)
            if target.probed(of):
                assert (held(target, of, kept), held(target, of, away)) == (2, 0)
            else:
                assert held(target, of, changes) == 3, "what the run has sent, deletes among it"
            assert target.mismatches(of, table(kept.drop_columns(["gone"]))) == []
            assert self.notes(*range(7)) == ["first", "first", "first", None, "second", "second", None]
            assert target.key_columns == ("id",), "a run that comes late is compared by them"

    def test_a_merge_is_not_seen_before_its_publish(self) -> None:
        self._merge("m1", people(5, "first"))
        of = self.version("m2", people(2, "second"), mode=Mode.MERGE, rows_id="m1")
        target = self.target(mode=Mode.MERGE)
        load(target, of, people(2, "second"))
        assert self.notes(0, 4) == ["first", "first"]
        target.publish(of)
        assert self.notes(0, 4) == ["second", "first"]

    def test_a_merge_that_died_is_begun_again(self) -> None:
        self._merge("m1", people(5, "first"))
        of, target = self.version("m2", people(1), mode=Mode.MERGE, rows_id="m1"), self.target(mode=Mode.MERGE)
        target.prepare(of)
        dead = target.loader(of)
        dead.open()
        dead.load(people(2, "second"))
        dead.close()
        assert self.notes(4) == ["first"]
        self._merge("m2", people(2, "second"))
        assert self.notes(*range(6)) == ["second", "second", "first", "first", "first", None]

    def test_a_merge_may_bring_a_column_and_leave_a_null(self) -> None:
        self._merge("m1", people(3, "first"))
        nulls: dict[str, Any] = {"id": [0, 1], "note": [None, "second"], "city": ["x", None], "more": [7, None]}
        changes = pa.RecordBatch.from_pydict(nulls)
        of, _ = self._merge("m2", changes)
        old = {**people(3, "first").to_pylist()[2], "more": None}
        assert self.see([0, 1, 2], of.columns) == [*changes.to_pylist(), old]

    def test_older_versions_of_a_line_retire_and_their_rows_stay(self) -> None:
        first, _ = self._merge("m1", people(3, "first"))
        _, target = self._merge("m2", people(1, "second"))
        for _ in range(2):
            target.forget(first)
        assert self.notes(0, 2) == ["second", "first"]

    def test_a_merge_into_rows_that_are_gone_is_refused(self) -> None:
        of = self.version("m2", people(1), mode=Mode.MERGE, rows_id="m1")
        with pytest.raises(TargetError, match=r"full-refresh|run the spec again"):
            load(self.target(mode=Mode.MERGE), of, people(1))

    def test_an_append_overwrites_its_interval_alone_and_is_the_same_when_repeated(self) -> None:
        for id_, day, count, note in (("a1", 1, 10, "one"), ("a2", 3, 30, "three"), ("a3", 2, 20, "two")):
            self._append(id_, day, count, note)
        for id_ in ("a4", "a5"):  # the same day anew, with fewer rows
            self._append(id_, 1, 5, "again")
            assert self.notes(1000, 1004, 1005, 1009) == ["again", "again", None, None]
            assert self.notes(2000, 2019, 3000, 3029) == ["two", "two", "three", "three"]

    def test_an_append_that_died_is_begun_again(self) -> None:
        self._append("a1", 1, 10, "one")
        of = self.version("a2", events(1, 1, ""), mode=Mode.APPEND, rows_id="a1", window=window(1))
        target = self.target(mode=Mode.APPEND)
        target.prepare(of)
        dead = target.loader(of)
        dead.open()
        dead.load(events(1, 10, "dead"))
        dead.close()
        assert self.notes(1000, 1009) == ["one", "one"]
        self._append("a2", 1, 3, "again")
        assert self.notes(1000, 1002, 1003) == ["again", "again", None]

    def _merge(self, id_: str, batch: pa.RecordBatch, **changes: Any) -> tuple[Version, Any]:
        """A run of `merge`, up to its publish; the line's rows are those of `m1`."""
        of = self.version(id_, batch, mode=Mode.MERGE, rows_id="m1", **changes)
        target = self.target(mode=Mode.MERGE)
        target.check([*of.columns, *(c for c in columns_of(batch.schema) if c.name == of.deletes)])
        loaded = load(target, of, batch)
        assert (loaded.rows, loaded.dirty) == (batch.num_rows, ())
        target.publish(of)
        return of, target

    def _append(self, id_: str, day: int, count: int, note: str) -> None:
        batch = events(day, count, note)
        of = self.version(id_, batch, mode=Mode.APPEND, rows_id="a1", window=window(day))
        target = self.target(mode=Mode.APPEND)
        assert load(target, of, batch).rows == held(target, of, batch) == count
        target.publish(of)
