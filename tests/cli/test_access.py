"""`millrace access`: from a new consumer to a revoked grant, as it is typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from millrace.catalog import ApiDefinition, Catalog, Registration
from millrace.catalog.access_model import token_digest
from millrace.cli.app import app


class Prompt:
    """Types `millrace access …` against one catalog."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __call__(self, *words: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, ["access", *words], env={"MILLRACE_CATALOG": self.url})
        assert done.exit_code == code, done.output
        return done.output

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "--json"))


@pytest.fixture
def access(tmp_path: Path) -> Prompt:
    url = f"sqlite:///{tmp_path / 'catalog.db'}"
    with Catalog.open(url) as catalog:
        catalog.assets.register(Registration("users", "", "x", "d", (ApiDefinition("user_profile", "kv", {}),)))
    return Prompt(url)


def test_a_consumer_gets_a_token_that_opens_the_door(access: Prompt) -> None:
    made = access.json("add", "shop", "--owner", "shop@example.com", "--priority", "high")
    with Catalog.open(access.url) as catalog:
        assert catalog.access.snapshot().tokens[token_digest(made["token"])].consumer == "shop"
    assert [(c["consumer"], c["priority"]) for c in access.json("consumers")] == [("shop", "high")]
    assert made["token"] not in access("tokens", "shop") + access("log")


def test_access_is_asked_for_given_and_taken_back(access: Prompt) -> None:
    access("add", "shop", "--as", "olga")
    asked = access.json(
        "request", "shop", "user_profile", "--purpose", "card", "--columns", "id, name", "--rate", "50",
        "--quota", "100_000/day", "--expires", "90d", "--rows", '{"column": "city", "eq": "x"}',
    )  # fmt: skip
    assert (asked["state"], asked["columns"], asked["rate"], asked["quota"]) == (
        "requested", ["id", "name"], 50, "100000/day",
    )  # fmt: skip
    number = str(asked["grant"])
    assert "is approved" in access("approve", number, "--reason", "fine", "--as", "olga")
    assert [g["grant"] for g in access.json("grants", "--state", "approved")] == [asked["grant"]]
    assert "is revoked" in access("revoke", number, "--reason", "left")
    assert "is revoked, so it can't become revoked" in access("revoke", number, code=1)
    log = access.json("log")
    assert [e["action"] for e in log][:3] == ["grant_revoked", "grant_approved", "grant_requested"]
    assert log[1]["actor"] == "olga"


def test_limits_at_the_approval_replace_those_that_were_asked_for(access: Prompt) -> None:
    access("add", "shop")
    asked = access.json("request", "shop", "user_profile", "--rate", "5000")
    given = access.json("approve", str(asked["grant"]), "--rate", "50", "--columns", "id")
    assert (given["rate"], given["columns"], given["quota"]) == (50, ["id"], None)


def test_a_disabled_consumer_and_a_revoked_token_are_shut_out(access: Prompt) -> None:
    token = access.json("add", "shop")["token"]
    [kept] = access.json("tokens", "shop")
    access("disable", "shop")
    assert access.json("consumers")[0]["disabled"]
    access("enable", "shop")
    access("revoke-token", kept["token"])
    with Catalog.open(access.url) as catalog:
        assert token_digest(token) not in catalog.access.snapshot().tokens


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("request", "shop", "user_profile", "--quota", "many"), "'many' is no quota"),
        (("request", "shop", "user_profile", "--quota", "5/year"), "hour, day or month"),
        (("request", "shop", "user_profile", "--expires", "soon"), "soon"),
        (("request", "shop", "user_profile", "--rows", "{"), "--rows is not JSON"),
        (("request", "shop", "user_profile", "--columns", ""), "allows nothing"),
    ],
)
def test_what_can_not_be_meant_is_a_usage_error(access: Prompt, words: tuple[str, ...], message: str) -> None:
    access("add", "shop")
    assert message in " ".join(access(*words, code=2).replace("│", " ").split())


def test_unknown_names_are_told(access: Prompt) -> None:
    assert "no consumer 'nobody'" in access("token", "nobody", code=1)
    access("add", "shop")
    assert "no API 'user_profil'" in access("request", "shop", "user_profil", code=1)
    assert "a consumer 'shop' already" in access("add", "shop", code=1)
