"""Access changed over HTTP by the holder of the admin token, and by nobody else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from millrace.catalog import Catalog
from millrace.cli.app import app
from millrace.serving.guards.protection import Protection, Rules
from millrace.spec.settings import Settings
from tests.connectors.loads import people
from tests.servers.process import wait_until
from tests.serving.http.running import Running, serving
from tests.serving.publishing import CONNECTION, Publisher

TOKEN = "the operators' own secret"
API = "user_profile"


@pytest.fixture
def running(settings: Settings, publisher: Publisher) -> Iterator[Running]:
    publisher.publish(people(10))
    own = replace(settings, admin_token=TOKEN)
    with serving(own, protection=Protection(Rules(permissions=True))) as server:
        yield server


@pytest.fixture
def admin(running: Running) -> Iterator[httpx.Client]:
    with running.client(headers={"Authorization": f"Bearer {TOKEN}", "X-Actor": "olga"}) as client:
        yield client


def test_a_consumer_is_added_granted_an_api_and_shut_out_again(running: Running, admin: httpx.Client) -> None:
    made = admin.post("/v1/admin/consumers", json={"name": "shop", "priority": "high"}).json()
    asked = admin.post(
        "/v1/admin/grants", json={"consumer": "shop", "api": API, "purpose": "card", "terms": {"columns": ["id"]}}
    ).json()
    assert (asked["state"], asked["columns"]) == ("requested", ["id"])
    given = admin.post(f"/v1/admin/grants/{asked['grant']}:approve", json={"terms": {"rate": 1000}}).json()
    assert (given["state"], given["columns"], given["rate"], given["decided_by"]) == ("approved", None, 1000, "olga")

    with running.client(headers={"Authorization": f"Bearer {made['token']}"}) as shop:
        wait_until(lambda: shop.get(f"/v1/kv/{API}/7").status_code == 200, "the grant")
        revoked = admin.post(f"/v1/admin/grants/{asked['grant']}:revoke", json={"reason": "left"}).json()
        assert revoked["state"] == "revoked"
        wait_until(lambda: shop.get(f"/v1/kv/{API}/7").status_code == 403, "the revocation")
        assert admin.post("/v1/admin/consumers/shop:disable").json()["disabled"]
        wait_until(lambda: shop.get(f"/v1/kv/{API}/7").status_code == 401, "the consumer to be shut out")
    entries = admin.get("/v1/admin/log", params={"consumer": "shop"}).json()["entries"]
    assert [entry["action"] for entry in entries] == [
        "consumer_disabled", "grant_revoked", "grant_approved", "grant_requested", "token_issued", "consumer_added",
    ]  # fmt: skip
    assert {entry["actor"] for entry in entries} == {"olga"}


def test_tokens_are_issued_listed_and_revoked_without_their_secrets(admin: httpx.Client) -> None:
    first = admin.post("/v1/admin/consumers", json={"name": "shop"}).json()["token"]
    second = admin.post("/v1/admin/consumers/shop/tokens", json={"expires": "90d"}).json()["token"]
    listed = admin.get("/v1/admin/consumers/shop/tokens")
    assert first not in listed.text
    assert second not in listed.text
    [one, other] = listed.json()["tokens"]
    assert (one["expires"], bool(other["expires"])) == (None, True)
    assert admin.delete(f"/v1/admin/tokens/{one['token']}").json()["revoked"]


def test_what_caches_bring_is_told_over_http_and_by_command(settings: Settings, publisher: Publisher) -> None:
    cache = {"ttl": "1h", "shared": CONNECTION, "compression": "zstd", "compress_above": 1}
    publisher.apis = ({"kv": {"name": API, "cache": cache}}, {"kv": {"name": "plain"}})
    publisher.publish(people(10, "many times the same. " * 50))
    with serving(replace(settings, admin_token=TOKEN)) as server, server.client() as client:
        assert [client.get(f"/v1/kv/{API}/1").status_code for _ in range(3)] == [200] * 3
        assert client.get("/v1/kv/plain/1").status_code == 200
        assert client.get("/v1/admin/caches").status_code == 401

        def told() -> dict[str, dict[str, Any]]:
            answer = client.get("/v1/admin/caches", headers={"Authorization": f"Bearer {TOKEN}"})
            return {entry["api"]: entry for entry in answer.json()["caches"]}

        wait_until(lambda: told()[API]["shared"].get("answers") == 1, "the answer to be shared")
        found = told()
        assert found["plain"] == {"api": "plain", "answers": {"store": 1}}
        assert found[API]["answers"] == {"store": 1, "l1": 2}
        shared = found[API]["shared"]
        assert (shared["miss"], shared["plain_bytes"] > 1000, shared["kept_bytes"] < 200) == (1, True, True)
        assert shared["saved"] > 0.8
        printed = CliRunner().invoke(app, ["caches", server.url], env={"MILLRACE_ADMIN_TOKEN": TOKEN})
        assert printed.exit_code == 0, printed.output
        assert f"{shared['kept_bytes']} of {shared['plain_bytes']:,} bytes" in printed.output
        refused = CliRunner().invoke(app, ["caches", server.url], env={"MILLRACE_ADMIN_TOKEN": "another"})
        assert refused.exit_code != 0


@pytest.mark.parametrize("authorization", ["", "Bearer wrong", f"Basic {TOKEN}", "Bearer"])
def test_nobody_else_may(running: Running, authorization: str) -> None:
    with running.client() as client:
        refused = client.get("/v1/admin/consumers", headers={"Authorization": authorization})
    assert refused.status_code == 401


def test_without_an_admin_token_nobody_may(settings: Settings, publisher: Publisher) -> None:
    publisher.publish(people(1))
    with serving(settings, protection=Protection(Rules(permissions=True))) as server, server.client() as client:
        refused = client.get("/v1/admin/consumers", headers={"Authorization": "Bearer"})
    assert refused.status_code == 403
    assert "MILLRACE_ADMIN_TOKEN" in refused.text


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("POST", "consumers", {}, 400, "needs a text 'name'"),
        ("POST", "consumers", {"name": "a", "size": 1}, 400, "unknown members: size"),
        ("POST", "consumers", {"name": "a", "priority": "urgent"}, 400, "no priority"),
        ("POST", "consumers/nobody/tokens", None, 404, "no consumer 'nobody'"),
        ("POST", "consumers/shop:fire", None, 400, "can't be told to 'fire'"),
        ("POST", "grants", {"consumer": "nobody", "api": API}, 404, "no consumer"),
        ("POST", "grants", {"consumer": "a", "api": API, "terms": {"rate": "5"}}, 400, "whole number"),
        ("POST", "grants", {"consumer": "a", "api": API, "terms": {"quota": "5/year"}}, 400, "is no quota"),
        ("POST", "grants/99:approve", None, 404, "no grant 99"),
        ("POST", "grants/x:approve", None, 400, "a grant's number"),
        ("GET", "grants?state=maybe", None, 400, "no state"),
        ("GET", "log?limit=0", None, 400, "'limit' is a number"),
        ("GET", "nothing", None, 404, "nothing at this address"),
    ],
)
def test_what_can_not_be_meant_is_a_problem(
    admin: httpx.Client, method: str, path: str, body: object, status: int, says: str
) -> None:
    content = None if body is None else json.dumps(body)
    refused = admin.request(method, f"/v1/admin/{path}", content=content)
    assert (refused.status_code, says in refused.text) == (status, True), refused.text


def test_doing_it_twice_is_a_conflict(admin: httpx.Client, served_catalog: tuple[Settings, Catalog]) -> None:
    admin.post("/v1/admin/consumers", json={"name": "shop"})
    assert admin.post("/v1/admin/consumers", json={"name": "shop"}).status_code == 409
    assert len(served_catalog[1].access.consumers()) == 1
