"""A server with permissions: who has no token, no grant or no requests left gets no answer, and views hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic, sleep

import httpx
import pytest

from millrace.catalog import Catalog
from millrace.catalog.access_model import Consumer, Grant, QuotaPeriod, Terms
from millrace.serving.guards.protection import Protection, Rules
from millrace.spec.settings import Settings
from tests.connectors.loads import people
from tests.serving.http.running import Running, serving
from tests.serving.publishing import Publisher

API = "user_profile"
LONGEST_S = 20.0


@dataclass
class Shop:
    """A consumer and its client; `asked` is what it may be given."""

    catalog: Catalog
    client: httpx.Client
    token: str

    def grant(self, terms: Terms | None = None) -> Grant:
        asked = self.catalog.access.request("shop", API, terms or Terms(), "", "sam")
        return self.catalog.access.approve(asked.id, "olga")

    def get(self, key: object = 7) -> httpx.Response:
        return self.client.get(f"/v1/kv/{API}/{key}")

    def soon(self, wanted: Callable[[httpx.Response], bool]) -> httpx.Response:
        """The first answer that is as wanted: what changes in the catalog takes effect within a moment."""
        deadline = monotonic() + LONGEST_S
        while not wanted(found := self.get()):
            assert monotonic() < deadline, f"still {found.status_code} {found.text}"
            sleep(0.02)
        return found


@pytest.fixture
def running(settings: Settings, publisher: Publisher) -> Iterator[Running]:
    publisher.publish(people(100, note="secret"))
    with serving(settings, protection=Protection(Rules(permissions=True))) as server:
        yield server


@pytest.fixture
def shop(served_catalog: tuple[Settings, Catalog], running: Running) -> Iterator[Shop]:
    access = served_catalog[1].access
    access.add_consumer(Consumer("shop"), "olga")
    token = access.issue_token("shop", "olga")
    with running.client(headers={"Authorization": f"Bearer {token}"}) as client:
        made = Shop(served_catalog[1], client, token)
        made.soon(lambda answer: answer.status_code != 401)
        yield made


def test_without_a_token_nobody_gets_anything(running: Running) -> None:
    with running.client() as client:
        for headers in ({}, {"Authorization": "Basic c2hvcDo="}, {"Authorization": "Bearer mr_x_y"}):
            answer = client.get(f"/v1/kv/{API}/7", headers=headers)
            assert (answer.status_code, answer.json()["type"]) == (401, "urn:millrace:problem:unauthenticated")
            assert answer.headers["www-authenticate"] == 'Bearer realm="millrace"'
            assert client.post(f"/v1/kv/{API}:mget", json={"keys": [7]}, headers=headers).status_code == 401
        assert client.get("/livez").status_code == 200


def test_a_token_without_a_grant_opens_nothing_and_one_with_it_does(shop: Shop) -> None:
    refused = shop.get()
    assert refused.status_code == 403
    assert f"millrace access request shop {API}" in refused.text
    shop.grant()
    assert shop.soon(lambda answer: answer.status_code == 200).json()["name"] == "person 7"
    assert shop.client.post(f"/v1/kv/{API}:mget", json={"keys": [1, 2]}).status_code == 200


def test_what_is_revoked_is_refused_soon(shop: Shop) -> None:
    grant = shop.grant()
    shop.soon(lambda answer: answer.status_code == 200)
    shop.catalog.access.revoke(grant.id, "olga", "left")
    shop.soon(lambda answer: answer.status_code == 403)
    [token] = shop.catalog.access.tokens("shop")
    shop.catalog.access.revoke_token(token.id, "olga")
    shop.soon(lambda answer: answer.status_code == 401)


def test_a_disabled_consumer_is_shut_out_until_it_is_enabled(shop: Shop) -> None:
    shop.grant()
    shop.soon(lambda answer: answer.status_code == 200)
    shop.catalog.access.set_disabled("shop", True, "olga")
    shop.soon(lambda answer: answer.status_code == 401)
    shop.catalog.access.set_disabled("shop", False, "olga")
    shop.soon(lambda answer: answer.status_code == 200)


def test_an_expired_grant_ends_by_itself(shop: Shop) -> None:
    shop.grant(Terms(expires_at=datetime.now(UTC) + timedelta(seconds=3)))
    shop.soon(lambda answer: answer.status_code == 200)
    assert "any more" in shop.soon(lambda answer: answer.status_code == 403).text


def test_only_granted_columns_and_rows_are_seen(shop: Shop) -> None:
    shop.grant(Terms(columns=("id", "name"), row_filter={"not": {"column": "id", "ge": 50}}))
    shop.soon(lambda answer: answer.status_code == 200)
    assert shop.get(7).json() == {"id": 7, "name": "person 7"}
    assert shop.get(50).status_code == 404
    many = shop.client.post(f"/v1/kv/{API}:mget", json={"keys": [1, 60, 2]})
    assert many.json()["rows"] == [{"id": 1, "name": "person 1"}, None, {"id": 2, "name": "person 2"}]
    as_protobuf = shop.client.get(f"/v1/kv/{API}/7", headers={"Accept": "application/x-protobuf"})
    assert as_protobuf.status_code == 200
    assert b"person 7" in as_protobuf.content
    assert b"secret" not in as_protobuf.content


def test_a_quota_is_counted_over_restarts_and_refused_with_the_time_to_come_again(
    shop: Shop, settings: Settings
) -> None:
    shop.grant(Terms(quota=30, quota_period=QuotaPeriod.MONTH))
    shop.soon(lambda answer: answer.status_code == 200)
    for _ in range(19):
        assert shop.get().status_code == 200
    with serving(settings, protection=Protection(Rules(permissions=True))) as second, second.client() as client:
        headers = {"Authorization": f"Bearer {shop.token}"}
        deadline = monotonic() + LONGEST_S
        codes: list[int] = []
        while 429 not in codes:
            assert monotonic() < deadline, codes
            codes.append(client.get(f"/v1/kv/{API}/7", headers=headers).status_code)
            sleep(0.2)
        assert codes.count(200) == len(codes) - 1 <= 10 + 20
    refused = shop.soon(lambda answer: answer.status_code == 429)
    assert int(refused.headers["retry-after"]) > 0


def test_a_rate_is_refused_with_the_time_to_come_again(shop: Shop) -> None:
    shop.grant(Terms(requests_per_second=1))
    shop.soon(lambda answer: answer.status_code == 200)
    refused = next(answer for answer in (shop.get() for _ in range(100)) if answer.status_code != 200)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    shop.soon(lambda answer: answer.status_code == 200)
