"""Unions of parts that answer, fail, hang, wait for each other, or are not there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from millrace.errors import TransientError
from millrace.serving.call import Answer, Call, Context, Operation, Profile, Table
from millrace.serving.metrics import Metrics
from millrace.serving.refusals import DeadlineExceeded, Refused, UnknownApi
from millrace.serving.stores import Breakers
from millrace.serving.union.api import PartFailed, UnionAnswer, UnionApi
from millrace.serving.union.plan import union_plan
from millrace.spec.settings import Settings
from millrace.spec.shape import apis

Behaviour = Callable[[Any], Awaitable[Any]]


class Apis:
    """APIs of a process, by name: each a function of its arguments. A fake: the real ones are called in test_http."""

    settings = Settings.from_env({})
    metrics = Metrics()
    breakers = Breakers(metrics)

    def __init__(self, **behaviours: Behaviour) -> None:
        self.behaviours = behaviours
        self.calls: list[tuple[str, str | None, Operation, Any]] = []
        self.cancelled: list[str] = []

    async def call(self, api: str, kind: str | None, call: Call) -> Answer:
        self.calls.append((api, kind, call.operation, call.arguments))
        if api not in self.behaviours:
            raise UnknownApi(f"there is no API '{api}'")
        try:
            async with asyncio.timeout(call.context.remaining_s()):
                return Answer(await self.behaviours[api](call.arguments), version=f"{api}-1")
        except TimeoutError:
            raise DeadlineExceeded(f"{api} had no answer in time") from None
        except asyncio.CancelledError:
            self.cancelled.append(api)
            raise


async def profile(key: Any) -> Any:
    return {"id": key, "city": "oslo", "gone": None}


async def orders(_: Any) -> Any:
    return Table(["id", "total"], [(1, 5), (2, 7)])


async def away(_: Any) -> Any:
    raise TransientError("the store is away")


async def hangs(_: Any) -> Any:
    await asyncio.Event().wait()


async def nobody(_: Any) -> Any:
    return None


def ask(host: Apis, fields: Any, **definition: Any) -> UnionAnswer:
    made = apis.UnionApi.model_validate({"name": "card", **definition})
    api = UnionApi(union_plan(made, "users", Profile()), host)
    answer = asyncio.run(api.call(Call(Operation.UNION, fields, Context())))
    found: UnionAnswer = answer.body
    return found


def part(api: str, input: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"api": api, "input": {"key": "{id}"} if input is None else input, **more}


def test_parts_are_called_side_by_side_with_what_the_request_says() -> None:
    host = Apis(profile=profile, orders=orders)
    query = {"where": {"column": "user", "eq": "{id}"}, "limit": 5}
    found = ask(host, {"id": 7}, parts=[part("profile"), part("orders", query)])
    assert found.parts == {
        "profile": {"id": 7, "city": "oslo", "gone": None},
        "orders": [{"id": 1, "total": 5}, {"id": 2, "total": 7}],
    }
    assert not found.missing
    assert found.versions == {"profile": "profile-1", "orders": "orders-1"}
    assert host.calls[0] == ("profile", "kv", Operation.GET, 7)
    assert host.calls[1] == ("orders", "sql", Operation.QUERY, {"where": {"column": "user", "eq": 7}, "limit": 5})


def test_an_output_feeds_a_later_input() -> None:
    host = Apis(profile=profile, orders=orders, weather=profile, items=profile)
    parts = [
        part("profile"),
        part("weather", {"key": "{profile.city}"}),
        part("orders", {"query": "of", "parameters": {"text": "of {id} in {profile.city}, {{sic}}"}}),
        part("items", {"keys": "{orders.id}"}),
    ]
    ask(host, {"id": 7}, mode="series", parts=parts)
    assert [call[3] for call in host.calls] == [
        7,
        "oslo",
        {"query": "of", "parameters": {"text": "of 7 in oslo, {sic}"}},
        [1, 2],
    ]


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [(away, "the store is away"), (hangs, "other had no answer in time"), (nobody, "no row under this key")],
)
def test_an_optional_part_that_is_missing_is_named_with_the_reason(behaviour: Behaviour, why: str) -> None:
    host = Apis(profile=profile, other=behaviour)
    other = part("other", required=False, timeout="20ms", default={"score": 0})
    found = ask(host, {"id": 1}, parts=[part("profile"), other])
    assert found.parts["profile"]["city"] == "oslo"
    assert found.parts["other"] == {"score": 0}
    assert found.missing == {"other": why}


def test_an_api_that_is_not_there_is_missing_like_any_other() -> None:
    found = ask(Apis(profile=profile), {"id": 1}, parts=[part("profile"), part("old", required=False)])
    assert found.parts["old"] is None
    assert found.missing == {"old": "there is no API 'old'"}


def test_a_required_part_that_fails_fails_the_whole_and_ends_the_others() -> None:
    host = Apis(slow=hangs, other=away)
    with pytest.raises(PartFailed, match="card has no answer without its part 'other': the store is away"):
        ask(host, {"id": 1}, parts=[part("slow"), part("other")])
    assert host.cancelled == ["slow"]


def test_a_required_part_that_is_too_slow_or_asked_wrongly_says_so() -> None:
    async def picky(_: Any) -> Any:
        raise Refused("no such key")

    with pytest.raises(DeadlineExceeded, match="without its part 'slow'"):
        ask(Apis(slow=hangs), {"id": 1}, parts=[part("slow", timeout="10ms")])
    with pytest.raises(Refused, match="without its part 'picky': no such key"):
        ask(Apis(picky=picky), {"id": 1}, parts=[part("picky")])


def test_what_waits_for_a_missing_part_is_missing_too() -> None:
    host = Apis(profile=away, weather=profile, other=profile)
    parts = [
        part("profile", required=False),
        part("weather", {"key": "{profile.city}"}, required=False),
        part("other"),
    ]
    found = ask(host, {"id": 1}, mode="series", parts=parts)
    assert found.missing["weather"] == "it needs {profile.city}, and that part is missing"
    assert found.parts["other"]["id"] == 1
    assert [call[0] for call in host.calls] == ["profile", "other"]


def test_a_default_feeds_later_parts_and_null_does_not() -> None:
    host = Apis(profile=away, weather=profile)
    parts = [
        part("profile", required=False, default={"city": "bergen", "gone": None}),
        part("weather", {"key": "{profile.city}"}),
        part("weather", {"key": "{profile.gone}"}, name="again", required=False),
    ]
    found = ask(host, {"id": 1}, mode="series", parts=parts)
    assert found.parts["weather"]["id"] == "bergen"
    assert found.missing["again"] == "it needs {profile.gone}, which is null"


@pytest.mark.parametrize("fields", [{}, {"id": 1, "more": 2}, [], None, "id"])
def test_a_request_has_the_fields_that_the_parts_use_and_no_others(fields: Any) -> None:
    with pytest.raises(Refused):
        ask(Apis(profile=profile), fields, parts=[part("profile")])


@pytest.mark.parametrize(
    ("definition", "why"),
    [
        ({"parts": [part("a"), part("b", {"key": "{a.id}"})]}, "takes 'mode: series'"),
        ({"mode": "series", "parts": [part("b", {"key": "{a.id}"}), part("a")]}, "of no part before 'b'"),
        ({"parts": [part("a", {"key": "{id"})]}, "not part of a place"),
        ({"parts": [part("a"), part("a")]}, "two parts are named 'a'"),
    ],
)
def test_a_union_that_can_not_work_is_refused_in_the_spec(definition: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        apis.UnionApi.model_validate({"name": "card", **definition})
