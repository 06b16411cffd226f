"""An API compiled to an immutable plan: what a request needs to know, so that no request asks the catalog."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from millrace.catalog import Catalog, VersionRecord
from millrace.connectors.base import KeyReader, SqlReader
from millrace.errors import NotFound
from millrace.spec.connection import resolve
from millrace.spec.connector import TargetRole, connectors, implementation
from millrace.spec.settings import Settings


@dataclass(frozen=True)
class KvPlan:
    """Where the rows of one KV API are: its asset, and the target that answers for it."""

    api: str
    asset: str
    target: str
    connector: str
    options: Mapping[str, Any]

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
    version = _published(catalog, asset)
    for target, about in version.targets.items():
        if _role(about["connector"]).queries:
            return SqlPlan(asset, target, about["connector"], about["options"])
    raise NotFound(f"no target of {asset} answers SQL", hint="add a target with SQL, such as clickhouse, to its spec")


def kv_plan(catalog: Catalog, name: str) -> KvPlan:
    """Compile the KV API `name`, or the lookups of an asset of that name.

    Raises NotFound that lists the KV APIs there are, or says that nothing is published yet.
    """
    api = next((a for a in catalog.assets.apis() if a.name == name and a.kind == "kv"), None)
    asset = api.asset if api else name
    if api is None and catalog.assets.find(name) is None:
        known = ", ".join(sorted(a.name for a in catalog.assets.apis() if a.kind == "kv")) or "none yet"
        raise NotFound(f"there is no KV API and no asset '{name}'", hint=f"KV APIs: {known}")
    version = _published(catalog, asset)
    wanted = (api.definition or {}).get("target") if api else None
    for target, about in version.targets.items():
        if wanted in (None, target) and "get" in _role(about["connector"]).lookups:
            return KvPlan(name, asset, target, about["connector"], about["options"])
    raise NotFound(
        f"no target of {asset} can be looked up by key",
        hint="add a target with lookups, such as redis, to its spec",
    )


def _published(catalog: Catalog, asset: str) -> VersionRecord:
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
