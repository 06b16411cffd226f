"""Check results and dirty records."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace.catalog import Catalog, CheckResult, DirtyReason
from millrace.errors import NotFound
from tests.core.catalog.life import ASSET, Life

NOT_NULL = CheckResult("not_null", "not_null(id)", "block", False, {"nulls": 3}, {"nulls": 0}, ({"id": None},))
ROW_COUNT = CheckResult("row_count", "row_count(min=10)", "warn", True, float("nan"), 10)


@dataclass(frozen=True)
class Row:
    reason: str
    origin: str
    raw: bytes


def test_check_results_come_back_in_their_order(life: Life) -> None:
    run = life.start()
    life.catalog.checks.record(run.id, [NOT_NULL, ROW_COUNT])
    found = life.catalog.checks.of_run(run.id)
    assert found[0].result == NOT_NULL
    assert (found[1].result.observed, found[1].result.passed) == ("NaN", True)
    assert {(r.run_id, r.asset, r.step, r.checked_at) for r in found} == {(run.id, ASSET, "check", life.clock.moment)}


def test_a_rerun_of_the_step_replaces_its_results_and_no_others(life: Life) -> None:
    run = life.start()
    life.catalog.checks.record(run.id, [ROW_COUNT], step="source")
    life.catalog.checks.record(run.id, [NOT_NULL, ROW_COUNT])
    life.catalog.checks.record(run.id, [ROW_COUNT])
    assert [(r.step, r.result.kind) for r in life.catalog.checks.of_run(run.id)] == [
        ("source", "row_count"),
        ("check", "row_count"),
    ]
    life.catalog.checks.record(run.id, [])
    assert len(life.catalog.checks.of_run(run.id)) == 1


def test_the_runs_that_have_results_are_known_without_reading_these(life: Life) -> None:
    runs = [life.start().id for _ in range(3)]
    for run_id in runs[:2]:
        life.catalog.checks.record(run_id, [NOT_NULL, ROW_COUNT])
    other = Life(life.catalog, life.clock, "views")
    assert (life.catalog.checks.checked(runs), life.catalog.checks.checked([])) == (frozenset(runs[:2]), frozenset())
    assert (life.catalog.checks.last_run(ASSET), life.catalog.checks.last_run("views")) == (runs[1], None)
    other.catalog.checks.record(other.start().id, [replace(ROW_COUNT, error="there is no such column")])
    assert life.catalog.checks.last_run(ASSET) == runs[1]
    (kept,) = life.catalog.checks.of_run(life.catalog.checks.last_run("views") or "")
    assert kept.result.error == "there is no such column"


def test_checks_of_an_unknown_run_are_refused(catalog: Catalog) -> None:
    with pytest.raises(NotFound, match="no run 'nope'"):
        catalog.checks.record("nope", [ROW_COUNT])


def test_dirty_rows_keep_their_reason_origin_and_raw_bytes(life: Life) -> None:
    run = life.start()
    row = Row("'age' is not an int: größe\0\ud800", "s3a://logs/a.gz:17", bytes(range(256)))
    assert life.catalog.dirty.add(run.id, "load:redis", [row], target="redis") == 1
    (found,) = life.catalog.dirty.list(run.id)
    assert (found.run_id, found.step, found.target) == (run.id, "load:redis", "redis")
    assert (found.origin, found.raw) == (row.origin, row.raw)
    assert found.reason == "'age' is not an int: größe\\x00\\ud800"


def test_dirty_rows_are_read_in_pages(life: Life) -> None:
    run = life.start()
    assert life.catalog.dirty.add(run.id, "stage", many(1_234)) == 1_234
    seen: list[str] = []
    after = 0
    while page := life.catalog.dirty.list(run.id, after=after, limit=500):
        seen += [r.origin for r in page]
        after = page[-1].id
    assert seen == [str(i) for i in range(1_234)]
    assert [r.origin for r in life.catalog.dirty.list(run.id, reason="odd", limit=2)] == ["1", "3"]
    assert life.catalog.dirty.list(run.id, step="check") == []


def many(count: int) -> Iterator[Row]:
    return (Row("odd" if i % 2 else "even", str(i), b"x" * 10) for i in range(count))


def test_dirty_rows_are_counted_by_reason_step_and_target(life: Life) -> None:
    run = life.start()
    life.catalog.dirty.add(run.id, "stage", many(5))
    life.catalog.dirty.add(run.id, "load:redis", many(1), target="redis")
    assert life.catalog.dirty.count(run.id) == 6
    assert life.catalog.dirty.reasons(run.id) == [
        DirtyReason("stage", "", "even", 3),
        DirtyReason("stage", "", "odd", 2),
        DirtyReason("load:redis", "redis", "even", 1),
    ]
    assert len(life.catalog.dirty.reasons(run.id, limit=1)) == 1


def test_a_step_that_begins_anew_drops_its_own_dirty_rows_only(life: Life) -> None:
    run, other = life.start(), life.start()
    life.catalog.dirty.add(run.id, "stage", many(4_321))
    life.catalog.dirty.add(run.id, "load:redis", many(2))
    life.catalog.dirty.add(other.id, "stage", many(3))
    assert life.catalog.dirty.clear(run.id, "stage") == 4_321
    assert life.catalog.dirty.count(run.id) == 2
    assert life.catalog.dirty.prune(run.id) == 2
    assert life.catalog.dirty.prune(run.id) == 0
    assert life.catalog.dirty.count(other.id) == 3


def test_rows_of_a_mebibyte_are_kept_whole(life: Life) -> None:
    run = life.start()
    raw = os.urandom(1 << 20)
    assert life.catalog.dirty.add(run.id, "stage", [Row("too long", str(i), raw) for i in range(9)]) == 9
    assert all(r.raw == raw for r in life.catalog.dirty.list(run.id))


def test_no_dirty_rows_are_no_work(life: Life) -> None:
    assert life.catalog.dirty.add(life.start().id, "stage", []) == 0


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.builds(Row, st.text(max_size=20), st.text(max_size=20), st.binary(max_size=50)), max_size=8))
def test_any_dirty_row_can_be_kept(life: Life, rows: list[Row]) -> None:
    run = life.start()
    life.catalog.dirty.add(run.id, "stage", rows)
    assert [r.raw for r in life.catalog.dirty.list(run.id)] == [r.raw for r in rows]
    assert sum(r.rows for r in life.catalog.dirty.reasons(run.id)) == len(rows)
