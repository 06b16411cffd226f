"""Incidents and the outbox, on each of the databases."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from millrace.catalog import AlertState, Catalog, IncidentRecord, NewAlert
from tests.core.catalog.life import ASSET, HandClock, Life


@pytest.fixture(autouse=True)
def registered(life: Life) -> None:
    """The asset that has incidents: the databases are shared, and what it leaves goes with it."""
    life.register()


def told(incident: IncidentRecord) -> Sequence[NewAlert]:
    return [NewAlert(ASSET, None, incident.event, "ops", {"seen": incident.seen, "text": "ü\0"})]


def seen(catalog: Catalog, key: str = "k1") -> IncidentRecord:
    return catalog.alerts.happened(ASSET, key, "run_failed", "broken\0", told)


def test_an_incident_is_counted_with_the_alerts_that_it_makes(catalog: Catalog, clock: HandClock) -> None:
    first = seen(catalog)
    assert (first.seen, first.told_at, first.opened_at) == (1, None, clock())
    opened = clock()
    clock.advance(60)
    again = seen(catalog)
    assert (again.seen, again.told_at, again.opened_at, again.seen_at) == (2, opened, opened, clock())
    assert [found.message["seen"] for found in catalog.alerts.list()] == [2, 1]


def test_an_alert_whose_making_fails_leaves_no_incident(catalog: Catalog) -> None:
    def broken(_: IncidentRecord) -> Sequence[NewAlert]:
        raise RuntimeError("no words")

    with pytest.raises(RuntimeError, match="no words"):
        catalog.alerts.happened(ASSET, "k", "run_failed", "x", broken)
    assert catalog.alerts.incidents(ASSET) == []


def test_incidents_end_but_for_those_that_go_on(catalog: Catalog) -> None:
    seen(catalog, "k1")
    seen(catalog, "k2")
    over = catalog.alerts.over(ASSET, ["k2"], lambda _: [NewAlert(ASSET, None, "recovered", "ops", {})])
    assert [found.key for found in over] == ["k1"]
    assert catalog.alerts.over(ASSET, ["k2"], told_never) == []
    assert [found.key for found in catalog.alerts.incidents(ASSET)] == ["k2"]
    assert catalog.alerts.list()[0].event == "recovered"


def told_never(_: Sequence[IncidentRecord]) -> Sequence[NewAlert]:
    raise AssertionError("nothing has ended")


def test_an_alert_waits_is_claimed_by_one_fails_and_is_sent(catalog: Catalog, clock: HandClock) -> None:
    seen(catalog)
    (alert,) = catalog.alerts.due()
    assert catalog.alerts.claim(alert, timedelta(seconds=60))
    assert not catalog.alerts.claim(alert, timedelta(seconds=60))
    catalog.alerts.failed(alert.id, "away", timedelta(seconds=120))
    clock.advance(119)
    assert catalog.alerts.due() == []
    clock.advance(1)
    (again,) = catalog.alerts.due()
    assert (again.tries, again.error, again.state) == (1, "away", AlertState.WAITING)
    catalog.alerts.sent(again.id)
    assert [found.state for found in catalog.alerts.list()] == [AlertState.SENT]
    clock.advance(100)
    catalog.alerts.prune(timedelta(seconds=100))
    assert len(catalog.alerts.list()) == 1
    clock.advance(1)
    catalog.alerts.prune(timedelta(seconds=100))
    assert catalog.alerts.list() == []


def test_the_last_publish_is_the_newest_of_the_assets_runs(catalog: Catalog, clock: HandClock, life: Life) -> None:
    assert catalog.alerts.last_publish(ASSET) is None
    clock.advance(5)
    life.published({"offset": 1})
    assert catalog.alerts.last_publish(ASSET) is not None
