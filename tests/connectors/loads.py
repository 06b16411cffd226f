"""What the tests of all stores share: rows to load, and a load in this process."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing

import pyarrow as pa

from millrace.connectors.base import DirtyRow, Loaded, Loader, Target, Version


def people(count: int, note: str | None = "", start: int = 0) -> pa.RecordBatch:
    """Rows `id`, `name`, `note`, the last one the same in all of them."""
    ids = range(start, start + count)
    return pa.RecordBatch.from_pydict(
        {
            "id": pa.array(ids, pa.int64()),
            "name": pa.array([f"person {id_}" for id_ in ids], pa.string()),
            "note": pa.array([note] * count, pa.string()),
        }
    )


def run_loader(loader: Loader, *batches: pa.RecordBatch) -> Loaded:
    """One task's load: every row is confirmed or dirty when it returns."""
    loader.open()
    with closing(loader):
        parts = [*(loader.load(batch) for batch in batches), loader.finish()]
    dirty: tuple[DirtyRow, ...] = sum((part.dirty for part in parts), ())
    return Loaded(sum(part.rows for part in parts), sum(part.size for part in parts), dirty)


def load(target: Target, of: Version, batches: Iterable[pa.RecordBatch]) -> Loaded:
    """One task's load in this process."""
    return run_loader(target.loader(of), *batches)


def load_whole(target: Target, of: Version, batches: Iterable[pa.RecordBatch]) -> Loaded:
    """Prepare, load in one task, seal."""
    target.prepare(of)
    loaded = load(target, of, batches)
    target.seal(of)
    return loaded
