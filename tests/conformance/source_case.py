"""What every behaviour of a source is tried with: a `Case` fills a place in its system; this plans and reads it."""

from __future__ import annotations

import itertools
import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from millrace.connectors.base import DirtyRow, Gate, PlanRequest, Source, SourcePlan, Window
from millrace.connectors.wire.columns import python_rows
from millrace.jobs.batches import map_batches
from millrace.jobs.gate import GateServer, StepLimits
from millrace.jobs.spark_errors import translate
from millrace.spec.connection import Connection, parse_url
from millrace.spec.connector import SourceRole, connectors, implementation
from millrace.spec.types import Column
from tests.conformance.gap import Case, Gap, never, todo, unread
from tests.conformance.values import UNUSUAL, named
from tests.servers.process import wait_until

_CHANNELS = 3
_PATIENCE_S = 120.0
_places = itertools.count(1)


@dataclass(frozen=True)
class Read:
    """What one reading of a plan gave: rows, rows set aside, and why the run has to stop, if it has."""

    rows: Sequence[Mapping[str, Any]]
    dirty: Sequence[DirtyRow]
    verdict: str | None

    @property
    def ids(self) -> list[int]:
        return sorted(row["id"] for row in self.rows)


class SourceCase(Case, ABC):
    """One system to read from. Each test has a place of its own there: a table, a topic, a folder."""

    #: Enough rows that several tasks are worth it.
    many: ClassVar[int] = 3000

    @classmethod
    @abstractmethod
    def serve(cls) -> AbstractContextManager[Any]:
        """The system, for all tests of the case."""

    @abstractmethod
    def make(self) -> None:
        """Make the test's place, `self.place`: without rows, with the columns `id` (bigint) and `word` (string)."""

    @abstractmethod
    def add(self, first: int, last: int) -> None:
        """Put rows there, `id` from first to last, `word` as `word_of` says; in one go."""

    @abstractmethod
    def options(self) -> Mapping[str, Any]:
        """The options that read the place."""

    @abstractmethod
    def fill(self, columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Make a place of these columns and rows; the options that read it."""

    def url(self, password: str = "") -> str:
        """The URL of a connection, with a wrong password when one is given; empty where there is none."""
        return ""

    def add_column(self) -> None:
        """Rows that are added from here on have another column, `more`."""
        raise NotImplementedError

    def drop_column(self) -> None:
        """The column `word` goes away."""
        raise NotImplementedError

    def change_type(self) -> None:
        """The column `word` gets another type that holds the same texts."""
        raise NotImplementedError

    def spoil(self) -> str:
        """Add one row that can't be read; what its origin has to name."""
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def _place(self, server: Any, spark: SparkSession) -> None:
        self.server, self.spark = server, spark
        self.place = f"place_{next(_places)}"

    @property
    def role(self) -> SourceRole:
        role = connectors()[self.connector].source
        assert role is not None
        return role

    def source(self, url: str = "", **changes: Any) -> Source:
        url = url or self.url()
        connection: Connection | None = parse_url("place", url, "the test") if url else None
        named = {"connection": "place"} if connection is not None else {}
        options = self.role.options.model_validate({**named, **(changes or self.options())})
        made = implementation(self.role.implementation, "the source")(options, connection)
        assert isinstance(made, Source)
        return made

    def plan(self, of: Source, watermark: Mapping[str, Any] | None = None) -> SourcePlan:
        """A plan as a retry gets it: from the catalog, which keeps JSON."""
        found = of.plan(PlanRequest(_CHANNELS, Window(), watermark, lambda: self.spark))
        kept = json.loads(json.dumps([found.splits, found.watermark, found.details]))
        return replace(found, splits=tuple(kept[0]), watermark=kept[1], details=kept[2])

    def make_many(self) -> SourcePlan:
        """A plan of many rows, in more splits than tasks run at once: the last begins when others have ended."""
        self.make()
        third = self.many // 3
        for first in (1, 1 + third, 1 + 2 * third):
            self.add(first, first + third - 1)
        plan = self.plan(self.source())
        assert len(plan.splits) > self.spark.sparkContext.defaultParallelism
        return plan

    def read(
        self, of: Source, plan: SourcePlan, limits: StepLimits | None = None, gate: GateServer | None = None
    ) -> Read:
        """Read a plan in Spark. Raises what a run would."""
        with gate or GateServer() as gate:
            passing = gate.open_step("read", limits or StepLimits())
            found = of.read(self.spark, plan, passing)
            types = [(field.name, field.dataType.simpleString()) for field in found.frame.schema.fields]
            assert types == [(column.name, str(column.type)) for column in plan.columns]
            frame = found.frame if found.gated else map_batches(found.frame, _through(passing), found.frame.schema)
            try:
                table: pa.Table = frame.toArrow()
            except Exception as error:
                verdict = gate.verdict("read")
                if verdict is None:
                    raise translate(error, "reading") from error
                return Read((), list(gate.dirty_rows("read")), verdict)
            return Read(python_rows(table), list(gate.dirty_rows("read")), gate.verdict("read"))

    def read_with(self, of: Source, plan: SourcePlan, in_its_middle: Callable[[], None]) -> Read:
        """Read a plan, and do something in this thread when its first rows have passed and no others have."""
        gate = _HeldGate()
        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(self.read, of, plan, None, gate)
            try:
                wait_until(lambda: gate.held.is_set() or reading.done(), "the first rows", _PATIENCE_S)
                assert not reading.done(), f"there was one batch alone: {reading.exception() or 'it has ended well'}"
                in_its_middle()
            finally:
                gate.go_on.set()
            return reading.result()


class _HeldGate(GateServer):
    """Admits one batch, and no other before it is told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.held, self.go_on = threading.Event(), threading.Event()
        self._admitted = itertools.count()

    def _answer(self, step: Any, attempt: Any, message: Mapping[str, Any]) -> dict[str, Any]:
        if message["op"] == "admit" and next(self._admitted):
            self.held.set()
            self.go_on.wait(_PATIENCE_S)
        return super()._answer(step, attempt, message)


def _through(gate: Gate) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """What a run does with the rows of a source that doesn't pass the gate by itself."""

    def passed(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            gate.admit(batch.num_rows, batch.nbytes)
            gate.done(batch.num_rows, batch.nbytes)
            yield batch

    return passed


def word_of(id_: int) -> str:
    return f"word {id_} ü😀"


def words(first: int, last: int) -> list[dict[str, Any]]:
    return [{"id": id_, "word": word_of(id_)} for id_ in range(first, last + 1)]


def json_line(row: Mapping[str, Any]) -> str:
    """A row as JSON: numbers as such, what JSON lacks as text."""
    return json.dumps(row, default=_as_text, ensure_ascii=False)


JSON_GAPS: Mapping[str, Gap] = {
    "test_a_column_that_goes_away_after_the_plan_is_told": never(
        "each object says for itself what it has: a field that it lacks is a null"
    ),
    "test_a_column_of_another_type_after_the_plan_is_told_and_the_next_plan_reads_it": never(
        "each value in JSON has its own type: one that doesn't fit the field's is set aside"
    ),
    **unread(never("JSON's numbers are finite"), *named("float", "double", what=UNUSUAL)),
    **unread(
        never("JSON has texts, and no bytes that are none"),
        *named("binary", what=("all bytes",)),
        *named("array<struct<at:timestamp,raw:binary>>"),
    ),
    **unread(todo("objects in JSON are read as structs, not yet as maps"), *named("map<string,int>")),
}


def _as_text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
