"""Druid does what every target does."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import pytest

from millrace.spec.connector import Mode
from tests.conformance.failures import SECRET
from tests.conformance.gap import Gap, never
from tests.conformance.target import TargetCase
from tests.servers.druid import Druid
from tests.servers.druid_locked import LockedDruid

_NO_MERGE = never("Druid replaces whole segments: it knows no key by which a row could be changed")


class TestDruid(TargetCase):
    connector = "druid"
    gaps: ClassVar[Mapping[str, Gap]] = {
        "test_a_merge_changes_rows_and_takes_them_away_and_is_the_same_when_repeated": _NO_MERGE,
        "test_a_merge_is_not_seen_before_its_publish": _NO_MERGE,
        "test_a_merge_that_died_is_begun_again": _NO_MERGE,
        "test_a_merge_may_bring_a_column_and_leave_a_null": _NO_MERGE,
        "test_older_versions_of_a_line_retire_and_their_rows_stay": _NO_MERGE,
        "test_a_merge_into_rows_that_are_gone_is_refused": _NO_MERGE,
        "test_a_key_that_is_no_column_is_refused_before_anything_is_written": never("a datasource has no key"),
        "test_rows_with_one_key_leave_one_whole_row": never("a datasource has rows, and no key that only one may have"),
    }

    shared: ClassVar[Druid]

    @pytest.fixture(autouse=True, scope="class")
    def _druid(self, request: pytest.FixtureRequest, druid: Druid) -> None:
        """The one of all tests of this process: five JVMs are enough."""
        request.cls.shared = druid

    @classmethod
    def serve(cls) -> AbstractContextManager[Druid]:
        return nullcontext(cls.shared)

    @classmethod
    def serve_locked(cls) -> AbstractContextManager[LockedDruid]:
        return LockedDruid(cls.shared, SECRET)

    def url(self) -> str:
        return str(self.server.url)

    def options(self, asset: str, mode: Mode = Mode.REPLACE) -> Mapping[str, Any]:
        return {"timestamp": "at"} if mode is Mode.APPEND else {"segment_granularity": "all"}
