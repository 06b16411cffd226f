"""ClickHouse does what every target does."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar
from urllib.parse import quote

from millrace.spec.connector import Mode
from tests.conformance.failures import SECRET
from tests.conformance.gap import Gap, never, of_values
from tests.conformance.target import TargetCase
from tests.conformance.values import NESTED, named
from tests.servers.clickhouse import ClickHouseServer
from tests.servers.process import HOST

_TIMES = ("date", "timestamp", "timestamp_ntz")
_YEARS = never("ClickHouse's dates and times lie in the years 1900 to 2299; others are set aside with that reason")
_NO_NULLS = never("ClickHouse has no null array, map or struct; the reason tells the `derive` that fills it")


class TestClickHouse(TargetCase):
    connector = "clickhouse"
    gaps: ClassVar[Mapping[str, Gap]] = {
        **of_values(_YEARS, *named(*_TIMES, what=("in the year 1", "in the year 9999"))),
        **of_values(_NO_NULLS, *named(*NESTED, what=("null",))),
        "test_rows_with_one_key_leave_one_whole_row": never(
            "a table has rows, and no key that only one of them may have; with `mode: merge` the last one stays"
        ),
    }

    @classmethod
    def serve(cls) -> AbstractContextManager[ClickHouseServer]:
        return ClickHouseServer()

    @classmethod
    def serve_locked(cls) -> AbstractContextManager[ClickHouseServer]:
        return ClickHouseServer(password=SECRET)

    def url(self) -> str:
        return f"clickhouse://default@{HOST}:{self.server.port}"

    def locked_url(self, server: ClickHouseServer, password: str) -> str:
        return f"clickhouse://default:{quote(password, safe='')}@{HOST}:{server.port}"

    def options(self, asset: str, mode: Mode = Mode.REPLACE) -> Mapping[str, Any]:
        return {"order_by": ["id"], **({"interval": "at"} if mode is Mode.APPEND else {})}
