"""An API of the catalog compiled to an immutable plan: what requests need to know, so that none asks the catalog.

Each kind of API has a `Kind`: how its plan is compiled, and how an API is made of it. Compiling reads the catalog; what
comes out is frozen and comparable, so that a server keeps what has not changed.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import yaml

from millrace.catalog import ApiRecord, Catalog, VersionRecord
from millrace.connectors.base import Field
from millrace.connectors.readers import KeyReader, SqlReader
from millrace.errors import NotFound
from millrace.serving.call import Answer, Api, Call, Plan, Profile
from millrace.spec.connection import resolve
from millrace.spec.connector import TargetRole, connectors, implementation
from millrace.spec.priority import Priority
from millrace.spec.settings import Settings
from millrace.spec.shape.apis import Cache, KvApi
from millrace.spec.units import parse_duration

if TYPE_CHECKING:
    from millrace.serving.metrics import Metrics
    from millrace.serving.stores import Breakers

_KINDS = {
    "kv": "millrace.serving.kv.api:KIND",
    "sql": "millrace.serving.sql.api:KIND",
    "union": "millrace.serving.union.api:KIND",
}


class Host(Protocol):
    """What an API may use of the process that it lives in."""

    settings: Settings
    metrics: Metrics
    breakers: Breakers

    async def call(self, api: str, kind: str | None, call: Call) -> Answer:
        """Call another API, through its guards. Raises UnknownApi."""


@dataclass(frozen=True)
class Kind:
    """One kind of API: `compile` reads the catalog in a thread, `make` gives an API that is not open yet."""

    compile: Callable[[Catalog, ApiRecord], Plan]
    make: Callable[[Any, Host], Api]


def kind_of(name: str) -> Kind:
    """The kind of that name. Raises NotFound for one that this release doesn't have."""
    where = _KINDS.get(name)
    if where is None:
        raise NotFound(f"this release serves no APIs of kind '{name}'", hint=f"kinds: {', '.join(_KINDS)}")
    module, _, value = where.partition(":")
    try:
        kind: Kind = getattr(importlib.import_module(module), value)
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("millrace."):
            raise
        raise NotFound(f"this release serves no APIs of kind '{name}' yet") from error
    return kind


@dataclass(frozen=True)
class KvPlan:
    """Where the rows of one KV API are: its asset, and the target that answers for it."""

    api: str
    asset: str
    target: str
    connector: str
    options: Mapping[str, Any]
    fields: tuple[Field, ...] = ()
    columns: tuple[str, ...] | None = None
    cache: Cache | None = None
    definition: KvApi | None = None
    profile: Profile = field(default_factory=Profile)
    kind: str = "kv"

    def reader(self, settings: Settings) -> KeyReader:
        """A reader for this plan, on this machine's connections. Not open yet."""
        made = implementation(_role(self.connector).reader, f"looking up in '{self.connector}'")
        connection = resolve(str(self.options["connection"]), file=settings.connections_file)
        reader: KeyReader = made(connection, self.asset)
        return reader


@dataclass(frozen=True)
class SqlPlan:
    """Where an asset can be queried: the connection of its target with SQL."""

    asset: str
    target: str
    connector: str
    options: Mapping[str, Any]

    def reader(self, settings: Settings) -> SqlReader:
        """A reader for this plan, on this machine's connections. Not open yet."""
        made = implementation(_role(self.connector).reader, f"querying '{self.connector}'")
        reader: SqlReader = made(resolve(str(self.options["connection"]), file=settings.connections_file))
        return reader


def sql_plan(catalog: Catalog, asset: str) -> SqlPlan:
    """Where an asset can be queried. Raises NotFound when none of its targets answers SQL."""
    version = published(catalog, asset)
    for target, about in version.targets.items():
        if _role(about["connector"]).queries:
            return SqlPlan(asset, target, about["connector"], about["options"])
    raise NotFound(f"no target of {asset} answers SQL", hint="add a target with SQL, such as clickhouse, to its spec")


def kv_plan(catalog: Catalog, name: str) -> KvPlan:
    """Compile the KV API `name`, or the lookups of an asset of that name.

    Raises NotFound that lists the KV APIs and assets there are, or says that nothing is published yet.
    """
    api = next((a for a in catalog.assets.apis() if a.name == name and a.kind == "kv"), None)
    if api is None and catalog.assets.find(name) is None:
        apis = ", ".join(sorted(a.name for a in catalog.assets.apis() if a.kind == "kv")) or "none yet"
        assets = ", ".join(sorted(a.name for a in catalog.assets.list())) or "none yet"
        raise NotFound(f"there is no KV API and no asset '{name}'", hint=f"KV APIs: {apis}; assets: {assets}")
    return compile_kv(catalog, api or ApiRecord(name, name, "kv", None, None))


def compile_kv(catalog: Catalog, api: ApiRecord) -> KvPlan:
    """Compile a KV API. Raises NotFound when its asset has no version, or no target that can be looked up by key."""
    version = published(catalog, api.asset)
    definition = KvApi.model_validate({"name": api.name, **(api.definition or {})})
    for target, about in version.targets.items():
        if definition.target in (None, target) and "get" in _role(about["connector"]).lookups:
            return KvPlan(
                api=api.name,
                asset=api.asset,
                target=target,
                connector=about["connector"],
                options=about["options"],
                fields=tuple(Field(f.column, f.number) for f in version.fields),
                columns=definition.columns,
                cache=definition.cache,
                definition=definition,
                profile=profile_of(catalog, api, (str(about["options"]["connection"]),)),
            )
    raise NotFound(
        f"no target of {api.asset} can be looked up by key",
        hint="add a target with lookups, such as redis, to its spec",
    )


def profile_of(catalog: Catalog, api: ApiRecord, stores: tuple[str, ...]) -> Profile:
    """What the spec of an API's asset says of all its APIs, and the API of itself."""
    asset = catalog.assets.get(api.asset)
    spec = yaml.safe_load(catalog.assets.spec_text(asset.spec_digest))
    spec = spec if isinstance(spec, dict) else {}
    definition = api.definition or {}
    limits = definition.get("limits") or {}
    timeout = limits.get("timeout")
    return Profile(
        description=str(definition.get("description") or spec.get("description") or ""),
        business_line=str(spec.get("business_line") or ""),
        priority=Priority(spec.get("priority") or Priority.MEDIUM),
        stores=stores,
        timeout_s=None if timeout is None else parse_duration(timeout).total_seconds(),
        limits=limits,
    )


def published(catalog: Catalog, asset: str) -> VersionRecord:
    """The current version of an asset. Raises NotFound when there is none."""
    catalog.assets.get(asset)
    version = catalog.versions.current(asset)
    if version is None:
        raise NotFound(f"{asset} has no published version yet", hint="run its spec first")
    return version


def _role(connector: str) -> TargetRole:
    found = connectors().get(connector)
    if found is None or found.target is None:
        raise NotFound(f"the connector '{connector}' is not installed here", hint="see `millrace connectors`")
    return found.target
