"""Readers see one whole version, the one that was published last: whatever is loaded, flipped or retired meanwhile."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pytest

from millrace.connectors.base import Loader, Version
from millrace.connectors.wire.arrow_types import columns_of
from millrace.errors import NotFound, TargetError
from tests.conformance.store import PEOPLE, StoreCase, erase, held, load, people
from tests.conformance.views import View
from tests.connectors.loads import run_loader

_FLIPS = 8
_STEPS = ("prepare", "open", "load", "finish", "seal")
_SCHEMAS: dict[str, dict[str, Any]] = {
    "a column is added": {"id": pa.array([1]), "note": pa.array(["x"]), "more": pa.array([7])},
    "a column is dropped": {"id": pa.array([1]), "note": pa.array(["x"])},
    "a column is widened": {"id": pa.array([1]), "note": pa.array(["x"]), "n": pa.array([2**40], pa.int64())},
    "a type is changed": {"id": pa.array([1]), "note": pa.array(["x"]), "n": pa.array(["seven"], pa.string())},
}
_BEFORE = {"id": pa.array([1]), "note": pa.array(["old"]), "n": pa.array([7], pa.int32())}


class Versions(StoreCase):
    """The life of versions: published, rolled back, retired."""

    def test_a_version_is_seen_from_its_publish_on(self) -> None:
        with pytest.raises(NotFound):
            self.notes(0)
        assert self.target().current(self.asset) is None
        self.publish("v1", people(3, "first"))
        target, second = self.target(), self.version("v2", people(2))
        load(target, second, people(2, "second"))
        assert target.current(self.asset) == "v1"
        assert self.notes(0, 2) == ["first", "first"]
        for _ in range(2):
            target.publish(second)
            assert target.current(self.asset) == "v2"
            assert self.notes(0, 2) == ["second", None]

    def test_a_rollback_shows_the_version_before(self) -> None:
        first = self.publish("v1", people(3, "first"))
        second = self.publish("v2", people(3, "second"))
        for of, note in ((first, "first"), (second, "second"), (first, "first")):
            self.target().publish(of)
            assert self.notes(0, 2) == [note, note]

    def test_a_retired_version_is_gone_and_the_current_one_stays(self) -> None:
        first = self.publish("v1", people(300, "first"))
        self.publish("v2", people(300, "second"))
        for _ in range(2):
            erase(self.target(), first, people(300))
        assert self.notes(0, 299) == ["second", "second"]
        with pytest.raises(TargetError):
            self.target().publish(first)
        assert self.target().current(self.asset) == "v2"

    def test_what_readers_see_is_never_dropped_or_loaded_over(self) -> None:
        of = self.publish("v1", people(3, "first"))
        for touch in (self.target().drop, self.target().prepare):
            with pytest.raises(TargetError, match="see"):
                touch(of)
        assert self.notes(0, 2) == ["first", "first"]

    def test_an_unknown_version_can_not_be_published_and_dropping_it_is_no_error(self) -> None:
        of = self.version("v9", people(1))
        with pytest.raises(TargetError, match=self.asset):
            self.target().publish(of)
        erase(self.target(), of, people(1))
        self.target().forget(of)
        assert self.target().current(self.asset) is None

    def test_an_asset_that_is_removed_has_no_version(self) -> None:
        of = self.publish("v1", people(3))
        for _ in range(2):
            self.target().unpublish(self.asset)
        assert self.target().current(self.asset) is None
        with pytest.raises(NotFound):
            self.notes(0)
        erase(self.target(), of, people(3))

    def test_a_reader_in_a_loop_sees_only_whole_versions(self) -> None:
        versions = [self.publish("v1", people(40, "one")), self.publish("v2", people(40, "two"))]
        seen: set[str] = set()

        def flip() -> None:
            target = self.target()
            for turn in range(_FLIPS):
                target.publish(versions[turn % 2])

        async def follow(view: View) -> None:
            flips = asyncio.create_task(asyncio.to_thread(flip))
            while not flips.done():
                seen.add(await self._note(view, 40))
            await flips
            while await self._note(view, 40) != "two":
                await asyncio.sleep(0.05)

        self.watch(follow)
        assert seen <= {"one", "two"}

    def test_a_reader_outlives_the_version_that_it_reads(self) -> None:
        first = self.publish("v1", people(40, "one"))

        async def outlive(view: View) -> None:
            assert await self._note(view, 40) == "one"
            await asyncio.to_thread(self.publish, "v2", people(40, "two"))
            await asyncio.to_thread(erase, self.target(), first, people(40))
            while await self._note(view, 40) != "two":
                await asyncio.sleep(0.05)

        self.watch(outlive)

    def test_a_run_that_ended_after_any_step_is_begun_again(self) -> None:
        self.publish("v1", people(30, "old"))
        of = self.version("v2", people(1))
        for last in _STEPS:
            self._abandon(of, last)
            assert self.notes(0, 29) == ["old", "old"], f"killed after {last}"
        target = self.target()
        assert load(target, of, people(20, "new")).rows == held(target, of, people(30)) == 20
        target.publish(of)
        self.target().publish(of)  # killed after the publish
        assert self.notes(0, 19, 20) == ["new", "new", None]

    def test_two_runs_at_once_keep_apart(self) -> None:
        versions = [self.version("v1", people(1)), self.version("v1x", people(1))]  # one's name begins the other's
        targets = [self.target() for _ in versions]
        for target, of in zip(targets, versions, strict=True):
            target.prepare(of)
        loaders: list[Loader] = [target.loader(of) for target, of in zip(targets, versions, strict=True) for _ in "ab"]
        batches = [people(2000, of.id, start) for of in versions for start in (0, 2000)]
        with ThreadPoolExecutor(len(loaders)) as pool:
            assert [loaded.rows for loaded in pool.map(run_loader, loaders, batches)] == [2000] * 4
        for target, of in zip(targets, versions, strict=True):
            target.seal(of)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda target, of: target.publish(of), targets, versions))
        current = self.target().current(self.asset)
        assert current in ("v1", "v1x")
        for target, of in zip(targets, versions, strict=True):
            assert held(target, of, *batches[:2]) == 4000
            target.publish(of)
            assert self.notes(0, 3999) == [of.id, of.id]

    @pytest.mark.parametrize("change", _SCHEMAS)
    def test_a_version_may_have_other_columns_and_the_old_one_keeps_its_own(self, change: str) -> None:
        before, after = map(pa.RecordBatch.from_pydict, (_BEFORE, _SCHEMAS[change]))
        first = self.publish("v1", before)
        second = self.publish("v2", after)
        assert self.see([1], columns_of(after.schema)) == after.to_pylist()
        self.target().publish(first)
        assert self.see([1], columns_of(before.schema)) == before.to_pylist()
        self.target().publish(second)

    def _abandon(self, of: Version, last: str) -> None:
        """A run of this version that is killed right after one of its steps."""
        target = self.target()
        target.prepare(of)
        if last == "prepare":
            return
        loader = target.loader(of)
        loader.open()
        try:
            if last != "open":
                loader.load(people(30, "half-written"))
            if last in ("finish", "seal"):
                loader.finish()
        finally:
            loader.close()
        if last == "seal":
            target.seal(of)

    async def _note(self, view: View, count: int) -> str:
        """The note that all of the first rows have."""
        rows = await view.rows(range(count), PEOPLE)
        notes = {None if row is None else row["note"] for row in rows}
        assert len(notes) == 1, f"a mix of versions: {notes}"
        (note,) = notes
        assert note is not None, "no row at all"
        return str(note)
