"""A union compiled: its parts, what each is called with, and which of them wait for which. Pure but for the catalog."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from millrace.catalog import ApiRecord, Catalog
from millrace.errors import SpecError
from millrace.serving.call import Profile
from millrace.serving.plans import profile_of, published
from millrace.spec.shape import apis
from millrace.spec.templates import places

#: What a part's input may hold to call a KV API; anything else calls a SQL API.
KV_INPUTS = ("key", "keys", "range", "prefix")


@dataclass(frozen=True)
class PartPlan:
    """One call. `needs` are the earlier parts whose output it takes; `timeout_s` None: the union's own."""

    name: str
    api: str
    kind: str
    input: Mapping[str, Any]
    timeout_s: float | None
    required: bool
    default: Any
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class UnionPlan:
    """One union. `fields` are those of a request that its parts use."""

    api: str
    asset: str
    parts: tuple[PartPlan, ...]
    series: bool
    fields: tuple[str, ...]
    cache: apis.Cache | None = None
    profile: Profile = field(default_factory=Profile)
    kind: str = "union"


def compile_union(catalog: Catalog, api: ApiRecord) -> UnionPlan:
    """Compile a union. Raises NotFound when its asset has no version, SpecError for parts that can't work."""
    published(catalog, api.asset)
    definition = apis.UnionApi.model_validate({"name": api.name, **(api.definition or {})})
    return union_plan(definition, api.asset, profile_of(catalog, api, ()))


def union_plan(definition: apis.UnionApi, asset: str, profile: Profile) -> UnionPlan:
    """The plan of a definition. Raises SpecError for a part that waits for one that is not before it."""
    series = definition.mode == "series"
    parts: list[PartPlan] = []
    fields: dict[str, None] = {}
    for part in definition.parts:
        name = part.name or part.api
        needs: dict[str, None] = {}
        for place in places(part.input):
            if place.part is None:
                fields[place.field] = None
                continue
            if not series or all(place.part != before.name for before in parts):
                raise SpecError(
                    f"the part '{name}' of the union {definition.name} takes {place}, and no part '{place.part}' comes"
                    " before it",
                    hint="" if series else "say `mode: series`",
                )
            needs[place.part] = None
        kind = "kv" if any(key in part.input for key in KV_INPUTS) else "sql"
        timeout_s = None if part.timeout is None else part.timeout.total_seconds()
        parts.append(
            PartPlan(name, part.api, kind, dict(part.input), timeout_s, part.required, part.default, tuple(needs))
        )
    return UnionPlan(definition.name, asset, tuple(parts), series, tuple(fields), definition.cache, profile)
