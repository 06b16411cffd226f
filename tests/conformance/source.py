"""What every source has to do, whatever its system: inherited by one `Case` a source, which only fills places."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from millrace.errors import MillraceError, SourceError, TransientError
from millrace.jobs.budget import DirtyLimit
from millrace.jobs.gate import StepLimits
from tests.conformance import values
from tests.conformance.source_case import SourceCase as Place
from tests.conformance.source_case import word_of
from tests.conformance.values import Value

_PAUSE_S = 1.0


class Plans(Place):
    """A plan is frozen: whoever reads it, and whenever, gets the same rows, each of them once."""

    def test_splits_cover_every_row_once(self) -> None:
        plan = self.make_many()
        assert self.read(self.source(), plan).ids == list(range(1, self.many + 1))

    def test_rows_that_are_added_after_the_plan_are_not_read_and_a_retry_reads_the_same(self) -> None:
        self.make()
        self.add(1, 20)
        plan = self.plan(self.source())
        for last in (25, 30):
            self.add(last - 4, last)
            found = self.read(self.source(), plan)
            assert found.ids == list(range(1, 21))
            assert all(row["word"] == word_of(row["id"]) for row in found.rows)
        assert self.read(self.source(), self.plan(self.source())).ids == list(range(1, 31))

    @pytest.mark.parametrize("count", [0, 1])
    def test_few_rows_are_no_error(self, count: int) -> None:
        self.make()
        self.add(1, count)
        found = self.read(self.source(), self.plan(self.source()))
        assert (found.ids, list(found.dirty), found.verdict) == (list(range(1, count + 1)), [], None)


class Types(Place):
    """Values come as they stand in the source, and a row that can't be read is set aside."""

    _typed: ClassVar[Mapping[int, Any]]

    @pytest.fixture
    def typed(self, request: pytest.FixtureRequest) -> Mapping[int, Any]:
        """The rows with every value that the source can hold, by id; read once for the case."""
        case = request.cls
        if "_typed" not in vars(case):
            test = "test_a_value_is_read_as_it_stands_there"
            there = [value for value in values.ALL if f"{test}[{value}]" not in self.gaps]
            types = list(dict.fromkeys(value.type for value in there))
            columns = [c for c in values.COLUMNS if c.name == "id" or str(c.type) in types]
            rows = [
                {c.name: value.id if c.name == "id" else None for c in columns}
                | {values.name_of(value.type): value.value}
                for value in there
            ]
            of = self.source(**self.fill(columns, rows))
            found = self.read(of, self.plan(of))
            assert list(found.dirty) == []
            case._typed = {row["id"]: row for row in found.rows}
        return self._typed

    @pytest.mark.parametrize("value", values.ALL, ids=str)
    def test_a_value_is_read_as_it_stands_there(self, typed: Mapping[int, Any], value: Value) -> None:
        got = typed[value.id][values.name_of(value.type)]
        assert values.same(got, value.value), f"got {got!r}, expected {value.value!r}"

    def test_a_row_that_can_not_be_read_is_set_aside_with_its_place(self) -> None:
        self.make()
        self.add(1, 5)
        origin = self.spoil()
        self.add(6, 9)
        found = self.read(self.source(), self.plan(self.source()))
        assert found.ids == list(range(1, 10))
        (dirty,) = found.dirty
        assert origin in dirty.origin
        assert dirty.reason
        assert dirty.raw

    def test_a_limit_of_dirty_rows_stops_the_reading(self) -> None:
        self.make()
        self.add(1, 5)
        self.spoil()
        limits = StepLimits(dirty=DirtyLimit(0, None))
        assert "dirty" in str(self.read(self.source(), self.plan(self.source()), limits).verdict)


class Changes(Place):
    """What the source looks like may change; a run says so, or reads on as planned."""

    def test_a_column_that_is_added_after_the_plan_is_read_by_the_next_plan_alone(self) -> None:
        self.make()
        self.add(1, 5)
        plan = self.plan(self.source())
        self.add_column()
        self.add(6, 9)
        found = self.read(self.source(), plan)
        assert [sorted(row) for row in found.rows[:1]] == [["id", "word"]]
        assert found.ids == list(range(1, 6))
        assert "more" in [column.name for column in self.plan(self.source()).columns]

    def test_a_column_that_goes_away_after_the_plan_is_told(self) -> None:
        self.make()
        self.add(1, 5)
        plan = self.plan(self.source())
        self.drop_column()
        with pytest.raises(SourceError, match=r"word|changed"):
            self.read(self.source(), plan)

    def test_a_column_of_another_type_after_the_plan_is_told_and_the_next_plan_reads_it(self) -> None:
        self.make()
        self.add(1, 5)
        plan = self.plan(self.source())
        self.change_type()
        with pytest.raises(SourceError, match=r"word|changed"):
            self.read(self.source(), plan)
        assert self.read(self.source(), self.plan(self.source())).ids == list(range(1, 6))

    def test_a_place_that_is_not_there_is_told_by_its_name(self) -> None:
        with pytest.raises(SourceError, match=self.place):
            self.plan(self.source())

    def test_a_place_that_goes_away_after_the_plan_is_told(self) -> None:
        self.make()
        self.add(1, 5)
        plan = self.plan(self.source())
        self.remove()
        with pytest.raises(SourceError, match=self.place):
            self.read(self.source(), plan)

    def remove(self) -> None:
        """Take the place away."""
        raise NotImplementedError


class Failures(Place):
    """A source that goes away, stalls or restarts while it is read, or that refuses us."""

    #: What a run gets to see of a source that goes away: whether another try may help.
    lost: ClassVar[type[MillraceError]] = TransientError

    def test_a_source_that_goes_away_in_the_middle_is_told_and_the_plan_still_holds(self) -> None:
        plan, impatient = self.make_many(), self.source(self.impatient(), **self.options())
        try:
            with pytest.raises(self.lost):
                self.read_with(impatient, plan, self.take_away)
            with pytest.raises(self.lost, match=self.named_when_away):
                self.plan(impatient)
        finally:
            self.bring_back()
        assert self.read(self.source(), plan).ids == list(range(1, self.many + 1))

    def test_a_server_that_restarts_in_the_middle_loses_and_repeats_nothing(self) -> None:
        plan, of = self.make_many(), self.source()
        try:
            found = self.read_with(of, plan, self.restart)
        except TransientError:
            found = self.read(of, plan)  # as a run does by itself
        assert found.ids == list(range(1, self.many + 1))

    def test_a_server_that_pauses_in_the_middle_is_waited_for(self) -> None:
        plan = self.make_many()
        resume = threading.Timer(_PAUSE_S, self.server.resume)

        def pause() -> None:
            self.server.pause()
            resume.start()

        try:
            assert self.read_with(self.source(), plan, pause).ids == list(range(1, self.many + 1))
        finally:
            resume.join()

    def test_a_wrong_password_is_refused_and_never_shown(self, caplog: pytest.LogCaptureFixture) -> None:
        self.make()
        with caplog.at_level(logging.DEBUG), pytest.raises(SourceError, match="password") as caught:
            self.plan(self.source(self.url("wr0ng-secret"), **self.options()))
        for text in (str(caught.value), repr(caught.value), caplog.text):
            assert "wr0ng-secret" not in text

    def test_secrets_are_never_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        self.make()
        self.add(1, 3)
        with caplog.at_level(logging.DEBUG):
            of = self.source()
            assert of.connection is not None
            plan = self.plan(of)
            self.read(of, plan)
            with pytest.raises(MillraceError) as caught:
                self.plan(self.source(**self.nowhere()))
        secret = of.connection.password.value
        assert secret
        for text in (repr(of.connection), repr(of.options), repr(plan), str(caught.value), caplog.text):
            assert secret not in text

    def take_away(self) -> None:
        """As when the power goes."""
        self.server.kill()

    def bring_back(self) -> None:
        """With all that it had."""
        self.server.restart()

    def restart(self) -> None:
        """At once, as when its machine does."""
        self.server.kill()
        self.server.restart()

    @property
    def named_when_away(self) -> str:
        """What the error of a source that is away has to name."""
        return r"127\.0\.0\.1"

    def impatient(self) -> str:
        """The URL of a connection that gives up soon, where that can be said."""
        return self.url()

    def nowhere(self) -> Mapping[str, Any]:
        """The options of a place that isn't there."""
        place, self.place = self.place, "nowhere"
        try:
            return self.options()
        finally:
            self.place = place


class SourceCase(Plans, Types, Changes, Failures):
    """All behaviours of a source. What a system doesn't do stands in `gaps`."""
