"""Registering specs, and the API names that they claim."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC

import pytest

from millrace.catalog import ApiDefinition, Catalog, Registration, RunState
from millrace.errors import NotFound, RunConflict, SpecError
from tests.core.catalog.life import Life

API = ApiDefinition("clicks_by_user", "kv", {"cache": {"ttl": 30}})


def test_a_spec_is_kept_with_its_text_and_digest(life: Life) -> None:
    life.register("asset: clicks\n# größe 🎡\n")
    asset = life.catalog.assets.get("clicks")
    assert asset.owner == "growth@example.com"
    assert asset.current_version is None
    assert asset.generation == 0
    assert asset.registered_at == life.clock.moment
    assert asset.registered_at.tzinfo is UTC
    assert life.catalog.assets.spec_text(asset.spec_digest) == "asset: clicks\n# größe 🎡\n"


def test_registering_again_keeps_every_text_and_points_to_the_latest(life: Life) -> None:
    life.register("one")
    first = life.catalog.assets.get("clicks")
    life.clock.advance(5)
    life.register("two")
    life.register("two")
    second = life.catalog.assets.get("clicks")
    assert second.spec_digest != first.spec_digest
    assert second.registered_at == first.registered_at
    assert second.updated_at > first.updated_at
    assert life.catalog.assets.spec_text(first.spec_digest) == "one"


def test_two_assets_may_have_the_same_text(catalog: Catalog) -> None:
    for name in ("a", "b"):
        catalog.assets.register(Registration(name, "", "same", "d"))
    catalog.assets.remove("a")
    assert catalog.assets.spec_text("d") == "same"


def test_assets_are_listed_by_name_and_case_matters(catalog: Catalog) -> None:
    for name in ("b", "a", "A"):
        catalog.assets.register(Registration(name, "", "x", "d"))
    assert sorted(a.name for a in catalog.assets.list()) == ["A", "a", "b"]
    assert catalog.assets.get("A").name == "A"


def test_what_is_not_there_is_not_found(catalog: Catalog) -> None:
    assert catalog.assets.find("nothing") is None
    assert catalog.assets.watermark("nothing") is None
    with pytest.raises(NotFound, match="no asset 'nothing'"):
        catalog.assets.get("nothing")
    with pytest.raises(NotFound, match="no spec with the digest abc"):
        catalog.assets.spec_text("abc")


@pytest.mark.parametrize("name", ["", "x" * 201])
def test_a_name_that_cannot_be_kept_is_refused(catalog: Catalog, name: str) -> None:
    with pytest.raises(SpecError, match="expected 1 to 200"):
        catalog.assets.register(Registration(name, "", "x", "d"))


def test_an_api_is_claimed_by_its_spec_and_has_a_definition_once_it_is_published(life: Life) -> None:
    life.apis = (API,)
    life.register()
    claimed = life.catalog.assets.apis("clicks")[0]
    assert (claimed.name, claimed.asset, claimed.kind, claimed.definition) == ("clicks_by_user", "clicks", "kv", None)
    life.published()
    published = life.catalog.assets.apis()[0]
    assert published.definition == API.definition
    assert published.published_at == life.clock.moment


def test_an_api_name_of_another_asset_is_refused_and_nothing_is_kept(life: Life) -> None:
    life.apis = (API,)
    life.register()
    other = Registration("views", "", "views", "d", (API, ApiDefinition("views", "kv", {})))
    with pytest.raises(SpecError, match="'clicks_by_user' of asset 'views' is already an API of asset 'clicks'"):
        life.catalog.assets.register(other)
    assert life.catalog.assets.find("views") is None
    assert [a.name for a in life.catalog.assets.apis()] == ["clicks_by_user"]


def test_a_name_that_was_claimed_and_never_published_is_freed_by_the_next_spec(life: Life) -> None:
    life.apis = (API,)
    life.register()
    life.apis = ()
    life.register()
    assert life.catalog.assets.apis() == []


def test_a_published_api_serves_on_until_a_version_without_it_is_published(life: Life) -> None:
    life.apis = (API,)
    life.published()
    changed = replace(API, definition={"cache": {"ttl": 60}})
    life.apis = (changed, ApiDefinition("new", "kv", {}))
    life.register("two")
    assert {a.name: a.definition for a in life.catalog.assets.apis()} == {API.name: API.definition, "new": None}
    life.published()
    assert {a.name: a.definition for a in life.catalog.assets.apis()} == {API.name: changed.definition, "new": {}}
    life.apis = ()
    life.register("three")
    assert len(life.catalog.assets.apis()) == 2
    life.published()
    assert life.catalog.assets.apis() == []


def test_removing_an_asset_forgets_everything_of_it_and_nothing_else(life: Life) -> None:
    life.published({"offset": 1})
    other = Life(life.catalog, life.clock, "views")
    kept = other.published()
    life.catalog.assets.remove("clicks")
    life.catalog.assets.remove("clicks")
    assert [a.name for a in life.catalog.assets.list()] == ["views"]
    assert life.catalog.runs.list("clicks") == []
    assert life.catalog.versions.list("clicks") == []
    assert life.catalog.assets.watermark("clicks") is None
    assert life.catalog.assets.fields("clicks") == ()
    assert life.catalog.versions.current("views") == kept


def test_an_asset_is_not_removed_under_a_run(life: Life) -> None:
    prepared = life.prepare()
    with pytest.raises(RunConflict, match=f"run {prepared.run.id} on "):
        life.catalog.assets.remove("clicks")
    life.catalog.runs.finish(prepared.run.id, RunState.CANCELLED)
    life.catalog.assets.remove("clicks")
    assert life.catalog.assets.find("clicks") is None
