"""Redis does what every target does."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar

from millrace.spec.connector import Mode
from tests.conformance.failures import SECRET
from tests.conformance.gap import Gap, never, of_values
from tests.conformance.target import TargetCase
from tests.servers.redis import RedisServer

_NO_INNER_NULLS = never("Protobuf has no null inside an array or a map; `value: json` and `value: msgpack` have")
_NO_INTERVALS = never("Redis knows rows by their key and has no order of time: nothing says which ones an interval has")


class TestRedis(TargetCase):
    connector = "redis"
    gaps: ClassVar[Mapping[str, Gap]] = {
        **of_values(_NO_INNER_NULLS, "array<int>: with a null", "map<string,int>: with a null"),
        "test_an_append_overwrites_its_interval_alone_and_is_the_same_when_repeated": _NO_INTERVALS,
        "test_an_append_that_died_is_begun_again": _NO_INTERVALS,
        "test_a_merge_is_not_seen_before_its_publish": never(
            "a merge changes the rows of the current version in place, key by key"
        ),
    }

    @classmethod
    def serve(cls) -> AbstractContextManager[RedisServer]:
        return RedisServer(persistent=True)

    @classmethod
    def serve_locked(cls) -> AbstractContextManager[RedisServer]:
        return RedisServer(password=SECRET)

    def url(self) -> str:
        return str(self.server.url)

    def options(self, asset: str, mode: Mode = Mode.REPLACE) -> Mapping[str, Any]:
        return {"key": "{id}"}
