"""HBase does what every target does."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import pytest
from pyspark.sql import SparkSession

from millrace.spec.connector import Mode
from tests.conformance.gap import Gap, never
from tests.conformance.target import TargetCase
from tests.servers.hbase import HBase

_NO_INTERVALS = never("HBase knows rows by their key and has no order of time: nothing says which ones an interval has")
_NO_PASSWORD = never("HBase's Thrift server asks for no password; a connection that has one is refused")


class TestHBase(TargetCase):
    connector = "hbase"
    gaps: ClassVar[Mapping[str, Gap]] = {
        "test_an_append_overwrites_its_interval_alone_and_is_the_same_when_repeated": _NO_INTERVALS,
        "test_an_append_that_died_is_begun_again": _NO_INTERVALS,
        "test_a_merge_is_not_seen_before_its_publish": never(
            "a merge changes the rows of the current version in place, key by key"
        ),
        "test_a_wrong_password_is_refused_and_neither_it_nor_the_right_one_is_shown": _NO_PASSWORD,
        "test_secrets_are_never_logged": _NO_PASSWORD,
    }

    @pytest.fixture(autouse=True)
    def _java(self, spark: SparkSession) -> None:
        """HBase's Java client, which takes over whole files, runs inside Spark's JVM."""

    @classmethod
    def serve(cls) -> AbstractContextManager[HBase]:
        return HBase()

    def url(self) -> str:
        return str(self.server.bulk_url)

    def options(self, asset: str, mode: Mode = Mode.REPLACE) -> Mapping[str, Any]:
        return {"table": asset, "row_key": "{id}", "family": "p"}
