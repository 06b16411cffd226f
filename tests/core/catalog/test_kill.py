"""kill -9 at every statement of publish and of rollback: readers have the old version or the new one, never half."""

from __future__ import annotations

import itertools
from typing import Any

from millrace.catalog import ApiDefinition, Catalog, Publication, RunState
from tests.core.catalog.life import ASSET, Life
from tests.core.catalog.processes import killed_before_statement

APIS = (ApiDefinition("a", "kv", {"v": 2}), ApiDefinition("b", "kv", {"v": 2}))


def seen(life: Life, run_id: str) -> dict[str, Any]:
    """Everything that one publish changes."""
    current = life.catalog.versions.current(ASSET)
    return {
        "current": None if current is None else (current.id, current.state, current.sequence),
        "asset": life.catalog.assets.get(ASSET),
        "versions": life.catalog.versions.list(ASSET),
        "watermark": life.catalog.assets.watermark(ASSET),
        "apis": life.catalog.assets.apis(ASSET),
        "published": life.catalog.runs.get(run_id).published_at,
        "gaps": life.catalog.unconfirmed_pointers(ASSET),
    }


def test_a_publish_that_is_killed_anywhere_has_happened_or_has_not(life: Life, shared_url: str) -> None:
    life.apis = (ApiDefinition("a", "kv", {"v": 1}), ApiDefinition("gone", "kv", {}))
    life.published({"offset": 1})
    life.apis = APIS
    prepared = life.prepare()
    publication = Publication(prepared.version.id, {"offset": 2}, APIS)

    def publish() -> None:
        Catalog.open(shared_url, clock=life.clock).publish(prepared.lease, publication)

    old = seen(life, prepared.run.id)
    killed_before = 0
    for number in itertools.count():
        killed = killed_before_statement(number, publish)
        now = seen(life, prepared.run.id)
        if now != old or not killed:
            break
        killed_before += 1
    assert killed_before > 10
    assert now["current"][0] == prepared.version.id
    assert (now["watermark"], now["asset"].generation) == ({"offset": 2}, 2)
    assert [(a.name, a.definition) for a in now["apis"]] == [("a", {"v": 2}), ("b", {"v": 2})]
    assert now["published"] == life.clock.moment
    assert [g.wanted for g in now["gaps"]] == [prepared.version.id]
    # Whoever comes next gets the same answer, moves the stores' pointers, and goes on.
    life.confirm(life.catalog.publish(prepared.lease, publication))
    life.catalog.runs.finish(prepared.run.id, RunState.SUCCEEDED)
    assert life.published().sequence == 3


def test_a_rollback_that_is_killed_anywhere_has_happened_or_has_not(life: Life, shared_url: str) -> None:
    first = life.published({"offset": 1})
    second = life.published({"offset": 2})

    def roll_back() -> None:
        Catalog.open(shared_url, clock=life.clock).rollback(ASSET)

    old = seen(life, second.run_id)
    for number in itertools.count():
        killed = killed_before_statement(number, roll_back)
        now = seen(life, second.run_id)
        if now != old or not killed:
            break
    assert number > 8
    assert now["current"][0] == first.id
    assert now["watermark"] == {"offset": 1}
    assert [g.wanted for g in now["gaps"]] == [first.id]


def test_a_lease_that_is_taken_while_being_killed_is_free_for_the_next_run(life: Life, shared_url: str) -> None:
    first, second = life.start(), life.start()

    def take() -> None:
        Catalog.open(shared_url, clock=life.clock).leases.acquire(ASSET, first.id, 3600)

    for number in itertools.count():
        killed = killed_before_statement(number, take)
        lease = life.catalog.leases.acquire(ASSET, second.id, 3600)  # never has to wait for the hour
        life.catalog.leases.release(lease)
        if not killed:
            break
    assert number > 5
