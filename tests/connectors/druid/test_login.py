"""A Druid behind TLS and a password: what is asked of its coordinator and its broker, and what a refusal says."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from millrace.connectors.druid.endpoint import endpoint_of
from millrace.connectors.druid.link import Link
from millrace.connectors.druid.query import DruidReader
from millrace.errors import ConfigError, MillraceError, TargetError, TransientError
from millrace.spec.connection import parse_url
from tests.servers.druid import Druid
from tests.servers.druid_locked import LockedDruid


@pytest.fixture(scope="module")
def locked(druid: Druid) -> Iterator[LockedDruid]:
    with LockedDruid(druid, "right") as running:
        yield running


def ask(url: str) -> Any:
    """The coordinator by way of one that doesn't lead, then the broker, as loads do."""
    link = Link(endpoint_of(parse_url("druid", url, "the test")))
    try:
        return link.get("asking", "/druid/indexer/v1/workers"), link.sql("asking", "SELECT 1 + 1")
    finally:
        link.close()


async def query(url: str) -> Any:
    """The broker, and the pointer in the coordinator, as serving does."""
    reader = DruidReader(parse_url("druid", url, "the test"))
    await reader.open()
    try:
        rows = (await reader.query("SELECT 1 + 1")).rows
        with pytest.raises(MillraceError, match="no published version"):
            await reader.table("nobody", {"connection": "druid"})
        return rows
    finally:
        await reader.close()


def test_loads_and_queries_log_in_also_where_a_coordinator_sends_on_to_its_leader(locked: LockedDruid) -> None:
    workers, rows = ask(locked.url)
    assert (len(workers), rows) == (1, [[2]])
    assert asyncio.run(query(locked.url)) == ((2,),)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (("right", "wrong"), TargetError, r"refuses the login: it was given user and password .*\('loader'\)"),
        (("loader:right@", ""), TargetError, "refuses the login: it was given no user"),
        (("ca=", "ca=/nowhere"), ConfigError, "/nowhere.* can't be read: No such file"),
        (("&ca=", "&staging="), TransientError, "its certificate can't be trusted; add `[?]ca=FILE`"),
    ],
)
def test_what_is_refused_says_what_to_do(
    locked: LockedDruid, change: tuple[str, str], kind: type[MillraceError], message: str
) -> None:
    url = locked.url.replace(*change, 1)
    assert url != locked.url
    with pytest.raises(kind, match=message):
        ask(url)
    with pytest.raises(kind, match=message):
        asyncio.run(query(url))


def test_a_certificate_may_be_left_unchecked(locked: LockedDruid) -> None:
    assert ask(locked.url.replace(f"ca={locked.ca}", "insecure=true"))[1] == [[2]]
