"""What every target has to do, whatever its store: inherited by one `Case` a store, which only says how to reach it."""

from __future__ import annotations

from abc import ABC, abstractmethod

import pyarrow as pa

from millrace.connectors.base import Field, Target, Version
from millrace.connectors.wire.arrow_types import columns_of

ASSET = "conformance"


def rows(count: int, note: str = "ü😀") -> pa.RecordBatch:
    """Rows `id`, `note`; every third note is null."""
    notes = [None if n % 3 == 2 else f"{note} {n}" for n in range(count)]
    return pa.RecordBatch.from_pydict({"id": pa.array(range(count), pa.int64()), "note": pa.array(notes, pa.string())})


def version(id_: str, batch: pa.RecordBatch) -> Version:
    return Version(ASSET, id_, tuple(Field(c, n) for n, c in enumerate(columns_of(batch.schema), start=1)))


def load(store: Target, of: Version, batch: pa.RecordBatch) -> int:
    """Prepare, load in one task, seal; the rows that the store has confirmed."""
    store.prepare(of)
    loader = store.loader(of)
    loader.open()
    try:
        confirmed = loader.load(batch).rows + loader.finish().rows
    finally:
        loader.close()
    store.seal(of)
    return confirmed


def held(store: Target, of: Version, batch: pa.RecordBatch) -> int:
    """How many rows of the batch the store holds of a version, as `verify` counts them."""
    if not store.probes:
        return store.count(of)
    task = store.probe(of)
    task.open()
    try:
        return task.run(batch.select(list(store.key_columns)))
    finally:
        task.close()


class TargetCase(ABC):
    """The behaviours. `open` gives the store's target, keyed by the column `id`, on a store that is empty."""

    @abstractmethod
    def open(self) -> Target: ...

    def test_every_row_that_was_loaded_is_there(self) -> None:
        for count in (0, 1, 1000):
            store, batch = self.open(), rows(count)
            of = version(f"v{count}", batch)
            store.check(of.columns)
            assert load(store, of, batch) == count
            assert held(store, of, batch) == count
            assert store.mismatches(of, pa.Table.from_batches([batch])) == []
            store.close()

    def test_a_load_that_is_done_again_starts_anew(self) -> None:
        store, batch = self.open(), rows(100)
        of = version("v1", batch)
        for _ in range(2):
            assert load(store, of, batch) == 100
        assert held(store, of, batch) == 100
        store.close()

    def test_a_row_that_differs_is_told(self) -> None:
        store, batch = self.open(), rows(10)
        of = version("v1", batch)
        load(store, of, batch)
        assert len(store.mismatches(of, pa.Table.from_batches([rows(10, "other")]))) > 0
        store.close()

    def test_the_version_that_was_published_last_is_current_and_publishing_again_changes_nothing(self) -> None:
        store, batch = self.open(), rows(10)
        first, second = version("v1", batch), version("v2", batch)
        for of in (first, second):
            load(store, of, batch)
            store.publish(of)
            store.publish(of)
            assert store.current(ASSET) == of.id
        store.publish(first)
        assert store.current(ASSET) == "v1", "rolled back"
        store.close()
