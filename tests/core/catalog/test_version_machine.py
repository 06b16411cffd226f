"""A state machine over one asset: whatever is called in whatever order, versions only make legal moves."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from millrace.catalog import Catalog, Publication, RunState, VersionState
from millrace.catalog.states import LEGAL_MOVES
from millrace.errors import RunConflict, RunFailed, TransientError
from tests.core.catalog.life import ASSET, COLUMNS, TTL_S, HandClock, Life, Prepared


class VersionMachine(RuleBasedStateMachine):
    runs: Bundle[Prepared] = Bundle("runs")

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.clock = HandClock()
        self.catalog = Catalog.open(f"sqlite:///{Path(self.folder.name) / 'catalog.db'}", clock=self.clock)
        self.life = Life(self.catalog, self.clock)
        self.life.register()
        self.states: dict[str, VersionState] = {}
        self.watermark: Any = None
        self.watermark_of: dict[str, Any] = {}
        self.offset = 0
        self.generation = 0

    def teardown(self) -> None:
        if hasattr(self, "catalog"):
            self.catalog.close()
            self.folder.cleanup()

    @rule(target=runs)
    def begin(self) -> Any:
        run = self.life.start()
        try:
            lease = self.catalog.leases.acquire(ASSET, run.id, TTL_S)
        except RunConflict:
            self.catalog.runs.finish(run.id, RunState.CANCELLED)
            return multiple()
        return Prepared(run, lease, self.catalog.versions.create(run.id, COLUMNS, {"redis": {}, "hbase": {}}))

    @rule(run=runs)
    def load(self, run: Prepared) -> None:
        self.attempt(lambda: self.catalog.versions.loaded(run.version.id, 1))

    @rule(run=runs)
    def load_again(self, run: Prepared) -> None:
        self.attempt(lambda: self.catalog.versions.create(run.run.id, COLUMNS, {"redis": {}, "hbase": {}}))

    @rule(run=runs)
    def reject(self, run: Prepared) -> None:
        self.attempt(lambda: self.catalog.versions.reject(run.version.id, "no"))

    @rule(run=runs, incremental=st.booleans())
    def publish(self, run: Prepared, incremental: bool) -> None:
        self.offset += 1
        watermark = {"offset": self.offset} if incremental else None
        flip = self.attempt(lambda: self.catalog.publish(run.lease, Publication(run.version.id, watermark)))
        if flip is not None and flip.generation > self.generation:
            self.watermark = watermark or self.watermark
            self.watermark_of[flip.version.id] = self.watermark

    @rule(data=st.data())
    def roll_back(self, data: st.DataObject) -> None:
        known = [v.id for v in self.catalog.versions.list(ASSET)]
        to = data.draw(st.sampled_from([None, *known]))
        before = self.states
        flip = self.attempt(lambda: self.catalog.rollback(ASSET, to))
        if flip is not None:
            self.watermark = self.watermark_of[flip.version.id]
        if flip is not None and to is None:
            assert before[flip.version.id] is VersionState.RETIRED
            assert (flip.version.sequence or 0) < (flip.previous.sequence or 0)

    @rule(target_name=st.sampled_from(["redis", "hbase"]))
    def confirm(self, target_name: str) -> None:
        current = self.catalog.versions.current(ASSET)
        if current is not None:
            self.catalog.pointer_confirmed(ASSET, target_name, current.id)

    @rule(run=consumes(runs), state=st.sampled_from([RunState.SUCCEEDED, RunState.FAILED]))
    def end(self, run: Prepared, state: RunState) -> None:
        self.catalog.runs.finish(run.run.id, state)

    @rule(keep=st.integers(0, 2))
    def retire(self, keep: int) -> None:
        for version in self.catalog.versions.retirable(ASSET, keep):
            self.catalog.versions.erase_started(version.id)
            self.catalog.versions.erase_finished(version.id)

    @rule(seconds=st.sampled_from([1.0, TTL_S * 2]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def attempt(self, call: Any) -> Any:
        """What is refused must be refused with an error of ours, and change nothing."""
        before = self.catalog.versions.list(ASSET), self.catalog.assets.get(ASSET), self.catalog.assets.watermark(ASSET)
        try:
            return call()
        except (RunConflict, RunFailed, TransientError):
            pass
        now = self.catalog.versions.list(ASSET), self.catalog.assets.get(ASSET), self.catalog.assets.watermark(ASSET)
        assert now == before
        return None

    @invariant()
    def moves_are_legal(self) -> None:
        versions = {v.id: v.state for v in self.catalog.versions.list(ASSET)}
        for version_id, old in self.states.items():
            new = versions[version_id]
            assert new is old or new in LEGAL_MOVES[old]
        self.states = versions

    @invariant()
    def one_version_is_current_and_the_asset_points_to_it(self) -> None:
        versions = self.catalog.versions.list(ASSET)
        current = [v.id for v in versions if v.state is VersionState.CURRENT]
        pointer = self.catalog.assets.get(ASSET).current_version
        assert current == ([] if pointer is None else [pointer])

    @invariant()
    def what_readers_see_is_whole_and_not_erased(self) -> None:
        current = self.catalog.versions.current(ASSET)
        if current is not None:
            assert current.erase_started_at is None
            assert current.rows == 1
            assert current.published_at is not None

    @invariant()
    def generations_and_sequences_only_grow(self) -> None:
        generation = self.catalog.assets.get(ASSET).generation
        assert generation >= self.generation
        self.generation = generation
        sequences = [v.sequence for v in self.catalog.versions.list(ASSET) if v.sequence is not None]
        assert len(set(sequences)) == len(sequences)

    @invariant()
    def the_watermark_belongs_to_the_current_version(self) -> None:
        assert self.catalog.assets.watermark(ASSET) == self.watermark


VersionMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
TestVersions = VersionMachine.TestCase
