"""What every behaviour of a target is tried with: a `Case` names its store; this loads, publishes and reads there."""

from __future__ import annotations

import asyncio
import itertools
import json
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from typing import Any, TypeVar

import pyarrow as pa
import pytest
import uvloop

from millrace.connectors.base import Field, Loaded, Target, Version
from millrace.connectors.wire.arrow_types import columns_of
from millrace.spec.connection import Connection, parse_url
from millrace.spec.connector import Mode, TargetRole, connectors, implementation
from millrace.spec.types import Column
from tests.conformance.gap import Case
from tests.conformance.views import Row, View, view
from tests.connectors.loads import load_whole

T = TypeVar("T")
_assets = itertools.count(1)


class StoreCase(Case, ABC):
    """One store under test. Its assets have the key `id`, and each test has an asset of its own."""

    @classmethod
    @abstractmethod
    def serve(cls) -> AbstractContextManager[Any]:
        """A server for all tests of the case, with `kill`, `restart`, `pause`, `resume`; it loses nothing confirmed."""

    @abstractmethod
    def url(self) -> str:
        """The URL of a connection to the server."""

    @abstractmethod
    def options(self, asset: str, mode: Mode = Mode.REPLACE) -> Mapping[str, Any]:
        """The target's options for an asset with the key `id`; with `mode: append` the column `at` is its time."""

    @pytest.fixture(autouse=True)
    def _place(self, server: Any) -> Iterator[None]:
        self.server = server
        self.asset = f"conformance_{next(_assets)}"
        self._numbers: dict[str, int] = {}
        with ExitStack() as self._opened:
            yield

    @property
    def role(self) -> TargetRole:
        role = connectors()[self.connector].target
        assert role is not None
        return role

    def connection(self, url: str = "", **params: str) -> Connection:
        url = url or self.url()
        joint = "&" if "?" in url else "?"
        more = "&".join(f"{name}={value}" for name, value in params.items())
        return parse_url("store", f"{url}{joint}{more}" if more else url, "the test")

    def target(self, connection: Connection | None = None, asset: str = "", mode: Mode = Mode.REPLACE) -> Target:
        """A target as a run of this mode opens it, closed at the test's end."""
        assert mode in self.role.modes, f"{self.connector} has no mode {mode}"
        options = self.role.options.model_validate({"connection": "store", **self.options(asset or self.asset, mode)})
        assert options.refused_in(mode) is None
        made = implementation(self.role.implementation, "the target")(options, connection or self.connection())
        assert isinstance(made, Target)
        self._opened.callback(made.close)
        return made

    def version(self, id_: str, batch: pa.RecordBatch, **changes: Any) -> Version:
        """A version of the batch's columns, whose numbers stay with their names."""
        fields = []
        for column in columns_of(batch.schema):
            if column.name != changes.get("deletes"):
                fields.append(Field(column, self._numbers.setdefault(column.name, len(self._numbers) + 1)))
        return Version(changes.pop("asset", self.asset), id_, tuple(fields), **changes)

    def publish(self, id_: str, batch: pa.RecordBatch, **changes: Any) -> Version:
        """Load a version of clean rows and make it current."""
        of = self.version(id_, batch, **changes)
        target = self.target(mode=of.mode, asset=of.asset)
        loaded = load(target, of, batch)
        assert (loaded.rows, loaded.dirty) == (batch.num_rows, ())
        target.publish(of)
        return of

    def see(self, ids: Sequence[int], columns: Sequence[Column], asset: str = "") -> list[Row | None]:
        """The rows with these ids, as an application that opens now sees them."""
        return self.watch(lambda seen: seen.rows(ids, columns), asset)

    def watch(self, use: Callable[[View], Awaitable[T]], asset: str = "") -> T:
        async def main() -> T:
            asset_, connection = asset or self.asset, self.connection()
            seen = view(self.role, connection, asset_, {"connection": "store", **self.options(asset_)})
            await seen.open()
            try:
                return await use(seen)
            finally:
                await seen.close()

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as the servers do
            return runner.run(main())

    def notes(self, *ids: int, asset: str = "") -> list[str | None]:
        """Of rows made by `people`: their notes, None for a row that isn't there."""
        return [None if row is None else row["note"] for row in self.see(ids, PEOPLE, asset)]


def people(count: int, note: str | None = "", start: int = 0) -> pa.RecordBatch:
    """Rows `id`, `note`, `city`, the note the same in all of them."""
    ids = range(start, start + count)
    return pa.RecordBatch.from_pydict(
        {
            "id": pa.array(ids, pa.int64()),
            "note": pa.array([note] * count, pa.string()),
            "city": pa.array([f"city {id_}" for id_ in ids], pa.string()),
        }
    )


PEOPLE = columns_of(people(0).schema)


def load(target: Target, of: Version, *batches: pa.RecordBatch) -> Loaded:
    """Prepare, load in one task, seal: every row is confirmed or dirty when it returns."""
    return load_whole(target, of, batches)


def held(target: Target, of: Version, *batches: pa.RecordBatch) -> int:
    """How many rows the store holds of a version, as `verify` counts them."""
    if not target.probed(of):
        return target.count(of)
    task = target.probe(of)
    task.open()
    with closing(task):
        return sum(task.run(batch.select(list(target.key_columns))) for batch in batches)


def erase(target: Target, of: Version, *batches: pa.RecordBatch) -> None:
    """Remove a version as a run retires it."""
    eraser = target.eraser(of)
    if eraser is not None:
        eraser.open()
        with closing(eraser):
            for batch in batches:
                eraser.run(batch.select(list(target.key_columns)))
    target.drop(of)


def table(*batches: pa.RecordBatch) -> pa.Table:
    return pa.Table.from_batches(batches)


def as_text(row: Any) -> str:
    return json.dumps(row, default=str, sort_keys=True)
