"""Who may read what: consumers, tokens, grants, and the log of every change, on each database."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta

import pytest

from millrace.catalog import ApiDefinition, Catalog, Registration
from millrace.catalog.access_model import Consumer, Grant, GrantState, QuotaPeriod, Terms, new_token, token_digest
from millrace.errors import NotFound, RunFailed
from millrace.spec.priority import Priority
from tests.core.catalog.life import HandClock

_numbers = itertools.count()
ACTOR = "olga"


@pytest.fixture
def shop(catalog: Catalog) -> str:
    """A consumer of a name that no other test has."""
    name = f"shop-{next(_numbers)}"
    catalog.access.add_consumer(Consumer(name, "shop@example.com", "the shop's pages", Priority.HIGH), ACTOR)
    return name


@pytest.fixture
def api(catalog: Catalog) -> str:
    catalog.assets.register(Registration("users", "", "x", "d", (ApiDefinition("user_profile", "kv", {}),)))
    return "user_profile"


def approved(catalog: Catalog, consumer: str, api: str, terms: Terms | None = None) -> Grant:
    asked = catalog.access.request(consumer, api, terms or Terms(), "the profile card", "sam")
    return catalog.access.approve(asked.id, ACTOR)


def test_a_consumer_is_kept_as_it_was_given(catalog: Catalog, shop: str, clock: HandClock) -> None:
    [kept] = [c for c in catalog.access.consumers() if c.name == shop]
    assert kept == Consumer(shop, "shop@example.com", "the shop's pages", Priority.HIGH, clock.moment)
    with pytest.raises(RunFailed, match=f"a consumer '{shop}' already"):
        catalog.access.add_consumer(Consumer(shop), ACTOR)


def test_a_token_opens_the_door_by_its_digest_alone(catalog: Catalog, shop: str) -> None:
    text = catalog.access.issue_token(shop, ACTOR)
    [token] = catalog.access.tokens(shop)
    assert text.startswith(f"mr_{token.id}_")
    assert catalog.access.snapshot().tokens[token_digest(text)].consumer == shop
    secret = text.removeprefix(f"mr_{token.id}_")
    assert len(secret) > 20
    assert secret not in repr(catalog.access.audit()) + repr(token)


def test_no_two_tokens_are_the_same() -> None:
    assert len({new_token("x") for _ in range(1000)}) == 1000


def test_a_revoked_token_is_gone_from_the_next_snapshot_and_the_generation_tells(catalog: Catalog, shop: str) -> None:
    kept, lost = catalog.access.issue_token(shop, ACTOR), catalog.access.issue_token(shop, ACTOR)
    before = catalog.access.snapshot()
    assert before.generation == catalog.access.generation()
    token = before.tokens[token_digest(lost)]
    catalog.access.revoke_token(token.id, ACTOR)
    assert catalog.access.generation() > before.generation
    after = catalog.access.snapshot()
    assert token_digest(lost) not in after.tokens
    assert token_digest(kept) in after.tokens
    catalog.access.revoke_token(token.id, ACTOR)
    assert catalog.access.generation() == after.generation


def test_a_disabled_consumer_has_no_tokens_until_it_is_enabled(catalog: Catalog, shop: str) -> None:
    digest = token_digest(catalog.access.issue_token(shop, ACTOR))
    assert catalog.access.set_disabled(shop, True, ACTOR).disabled_at is not None
    assert digest not in catalog.access.snapshot().tokens
    assert catalog.access.set_disabled(shop, False, ACTOR).disabled_at is None
    assert digest in catalog.access.snapshot().tokens


def test_access_is_asked_for_then_given_with_its_terms(catalog: Catalog, shop: str, api: str, clock: HandClock) -> None:
    terms = Terms(
        columns=("name", "größe"),
        row_filter={"column": "city", "eq": "köln"},
        requests_per_second=50,
        quota=10**12,
        quota_period=QuotaPeriod.DAY,
        expires_at=clock.moment + timedelta(days=30),
    )
    asked = catalog.access.request(shop, api, terms, "the profile card", "sam")
    assert (asked.state, asked.terms, asked.requested_by) == (GrantState.REQUESTED, terms, "sam")
    assert (shop, api) not in catalog.access.snapshot().grants
    given = catalog.access.approve(asked.id, ACTOR, reason="fine")
    assert (given.terms, given.decided_by, given.decided_at) == (terms, ACTOR, clock.moment)
    assert catalog.access.snapshot().grants[shop, api] == given


def test_who_approves_may_give_less_than_was_asked_for(catalog: Catalog, shop: str, api: str) -> None:
    asked = catalog.access.request(shop, api, Terms(), "everything", "sam")
    given = catalog.access.approve(asked.id, ACTOR, Terms(columns=("name",), requests_per_second=5))
    assert given.terms == Terms(columns=("name",), requests_per_second=5)


def test_a_grant_ends_by_itself(catalog: Catalog, shop: str, api: str, clock: HandClock) -> None:
    grant = approved(catalog, shop, api, Terms(expires_at=clock.moment + timedelta(hours=1)))
    assert grant.holds(clock.moment)
    clock.advance(3600)
    assert not grant.holds(clock.moment)
    assert (shop, api) not in catalog.access.snapshot().grants
    assert catalog.access.request(shop, api, Terms(), "again", "sam").state is GrantState.REQUESTED


def test_refused_and_revoked_are_ends(catalog: Catalog, shop: str, api: str) -> None:
    refused = catalog.access.refuse(catalog.access.request(shop, api, Terms(), "why not", "sam").id, ACTOR, "no need")
    assert (refused.state, refused.reason) == (GrantState.REFUSED, "no need")
    with pytest.raises(RunFailed, match="is refused, so it can't become approved"):
        catalog.access.approve(refused.id, ACTOR)
    grant = approved(catalog, shop, api)
    assert catalog.access.revoke(grant.id, ACTOR, "left").state is GrantState.REVOKED
    assert (shop, api) not in catalog.access.snapshot().grants
    with pytest.raises(RunFailed, match="is revoked, so it can't become revoked"):
        catalog.access.revoke(grant.id, ACTOR, "twice")


def test_one_grant_at_a_time_for_an_api(catalog: Catalog, shop: str, api: str) -> None:
    asked = catalog.access.request(shop, api, Terms(), "card", "sam")
    with pytest.raises(RunFailed, match=f"has grant {asked.id} for 'user_profile' already; it is requested"):
        catalog.access.request(shop, api, Terms(), "card", "sam")


def test_unknown_names_say_what_there_is(catalog: Catalog, shop: str, api: str) -> None:
    with pytest.raises(NotFound, match="no API 'user_profil'") as raised:
        catalog.access.request(shop, "user_profil", Terms(), "", "sam")
    assert api in raised.value.hint
    with pytest.raises(NotFound, match="no consumer 'nobody'"):
        catalog.access.issue_token("nobody", ACTOR)
    with pytest.raises(NotFound, match="no grant 999999"):
        catalog.access.approve(999999, ACTOR)
    with pytest.raises(NotFound, match="no token nope"):
        catalog.access.revoke_token("nope", ACTOR)


def test_tokens_of_one_moment_have_ids_of_their_own(catalog: Catalog, shop: str) -> None:
    for _ in range(100):
        catalog.access.issue_token(shop, ACTOR)
    assert len({token.id for token in catalog.access.tokens(shop)}) == 100


def test_every_change_is_in_the_log_newest_first(catalog: Catalog, shop: str, api: str) -> None:
    catalog.access.issue_token(shop, ACTOR)
    grant = approved(catalog, shop, api)
    catalog.access.revoke(grant.id, ACTOR, "left")
    entries = catalog.access.audit(shop)
    actions = ["grant_revoked", "grant_approved", "grant_requested", "token_issued", "consumer_added"]
    assert [e.action for e in entries] == actions
    assert [e.actor for e in entries] == [ACTOR, ACTOR, "sam", ACTOR, ACTOR]
    assert entries[0].details == {"grant": grant.id, "reason": "left"}
    assert catalog.access.audit(shop, limit=2, before=entries[1].id) == entries[2:4]


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        (lambda: Terms(quota=5), "a quota is a number of requests and a period"),
        (lambda: Terms(quota=0, quota_period=QuotaPeriod.DAY), "quota must be more than 0"),
        (lambda: Terms(requests_per_second=-1), "requests_per_second must be more than 0"),
        (lambda: Terms(columns=()), "a grant of no columns allows nothing"),
    ],
)
def test_terms_that_make_no_sense_are_refused(terms: Callable[[], Terms], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        terms()
