"""A SQL API: a query's tree or a named query in, rows out; pages and streams. Through its cache, from its store."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from millrace.catalog import ApiRecord, Catalog, VersionRecord
from millrace.connectors.readers import SqlReader
from millrace.errors import NotFound, TransientError
from millrace.serving.caches.shared import Place, cache_of
from millrace.serving.caches.values import ANSWERS
from millrace.serving.call import Answer, Call, Operation, Origin, Profile, Stream, Table
from millrace.serving.plans import Host, Kind, profile_of, published
from millrace.serving.refusals import Refused
from millrace.serving.signing import signing_key
from millrace.serving.sql import execute
from millrace.serving.sql.degraded import Fallback
from millrace.serving.sql.execute import SqlExecutor
from millrace.serving.sql.named import NamedQuery, named_queries
from millrace.serving.sql.rules import SqlRules
from millrace.serving.stores import GuardedSql
from millrace.serving.views import View
from millrace.spec.connection import resolve
from millrace.spec.connector import connectors, implementation
from millrace.spec.load import parse_spec
from millrace.spec.settings import Settings
from millrace.spec.shape import apis
from millrace.spec.types import Column, column

_MOST_VIEWS = 1000
_NAMED = frozenset({"query", "parameters"})


@dataclass(frozen=True)
class SqlApiPlan:
    """Where the rows of one SQL API are, and what it allows."""

    api: str
    asset: str
    target: str
    connector: str
    options: Mapping[str, Any]
    reader_path: str
    rules: SqlRules
    queries: Mapping[str, NamedQuery] = field(default_factory=dict)
    cache: apis.Cache | None = None
    definition: Mapping[str, Any] = field(default_factory=dict)
    profile: Profile = field(default_factory=Profile)
    kind: str = "sql"

    def reader(self, settings: Settings) -> SqlReader:
        """A reader for this plan, on this machine's connections. Not open yet."""
        made = implementation(self.reader_path, f"querying '{self.connector}'")
        reader: SqlReader = made(resolve(str(self.options["connection"]), file=settings.connections_file))
        return reader


def compile_sql(catalog: Catalog, api: ApiRecord) -> SqlApiPlan:
    """Compile a SQL API. Raises NotFound when its asset has no version, or nothing of it can be queried."""
    version = published(catalog, api.asset)
    definition = {"name": api.name, **(api.definition or {})}
    place = _of_source(catalog, api, version) if definition.get("source") else _of_target(version, definition)
    rules = SqlRules.of(definition, place.columns)
    cache = definition.get("cache")
    return SqlApiPlan(
        api=api.name,
        asset=api.asset,
        target=place.target,
        connector=place.connector,
        options=place.options,
        reader_path=place.reader,
        rules=rules,
        queries=named_queries(definition, rules),
        cache=None if cache is None else apis.Cache.model_validate(cache),
        definition=definition,
        profile=profile_of(catalog, api, (str(place.options["connection"]),)),
    )


@dataclass(frozen=True)
class _Place:
    """What answers: a target, or the source (`target` is "")."""

    target: str
    connector: str
    options: Mapping[str, Any]
    reader: str
    columns: Sequence[Column]


def _of_target(version: VersionRecord, definition: Mapping[str, Any]) -> _Place:
    """The target that is asked for, or the first that can be queried, with the version's columns."""
    wanted = definition.get("target")
    for target, about in version.targets.items():
        connector = connectors().get(about["connector"])
        role = connector.target if connector is not None else None
        if wanted in (None, target) and role is not None and role.queries and role.reader is not None:
            columns = [column_field.column for column_field in version.fields]
            return _Place(target, about["connector"], about["options"], role.reader, columns)
    raise NotFound(
        f"no target of {version.asset} can be queried", hint="add a target with SQL, such as clickhouse, to its spec"
    )


def _of_source(catalog: Catalog, api: ApiRecord, version: VersionRecord) -> _Place:
    """The source itself, with the columns that the run of the current version has read from it."""
    source = parse_spec(catalog.assets.spec_text(catalog.assets.get(api.asset).spec_digest), f"{api.asset}.yaml").source
    connector = connectors().get(source.connector)
    role = connector.source if connector is not None else None
    planned = (catalog.runs.get(version.run_id).plan or {}).get("source", {})
    if role is None or role.reader is None or planned.get("connector") != source.connector:
        raise NotFound(f"the source of {api.asset} can't be queried", hint="leave `source: true` out of the API")
    columns = [column(found["name"], found["type"]) for found in planned["columns"]]
    return _Place("", source.connector, source.options.model_dump(mode="json"), role.reader, columns)


class SqlApi:
    """Filters, groups and aggregates over one asset. Every answer is of one version, where the store has versions."""

    def __init__(self, plan: SqlApiPlan, host: Host) -> None:
        self.plan = plan
        store = host.breakers.of(str(plan.options["connection"]))
        self._reader: SqlReader = GuardedSql(plan.reader(host.settings), store)
        key = signing_key(host.settings)
        self.executor = SqlExecutor(self._reader, plan.asset, plan.options, plan.rules, plan.queries, key)
        self._narrow: dict[View, SqlExecutor] = {}
        self._version = ""  # that queries saw last
        self.cache = cache_of(plan.cache, Place(plan.api, plan.definition), ANSWERS, host)
        self._fallback = Fallback(plan.definition, [*plan.rules.stored])

    async def open(self) -> None:
        await self._reader.open()
        if self.cache is not None:
            await self.cache.open()

    async def close(self) -> None:
        if self.cache is not None:
            await self.cache.close()
        await self._reader.close()

    async def call(self, call: Call) -> Answer:
        """`arguments` are a query's tree, or `{"query": name, "parameters": {…}}` for a named one."""
        match call.operation:
            case Operation.QUERY:
                try:
                    return _answer(*await self._query(call))
                except (TransientError, TimeoutError):
                    instead = self._default(call)
                    if instead is None:
                        raise
                    return instead
            case Operation.STREAM:
                batches = await self._stream(self._within(call.view), call.arguments)
                return Answer(Stream(batches.columns, batches.batches), batches.version)
            case _:
                raise Refused(f"the SQL API {self.plan.api} has no operation '{call.operation}'")

    async def _query(self, call: Call) -> tuple[execute.Answer, Origin]:
        executor, arguments = self._within(call.view), call.arguments
        if self.cache is None or call.context.fresh:
            return await self._fetch(executor, arguments), Origin.STORE
        version = self._version = await self.executor.version()
        asked = _asked(version, call)
        return await self.cache.get(_digest(asked), lambda: self._fetch(executor, arguments))

    def degraded(self, call: Call) -> Answer | None:
        """What is given for a query that has no answer in time: a stale one if one may be given, or the default."""
        if call.operation is not Operation.QUERY:
            return None
        if self.cache is not None:
            entry = self.cache.local.entries.get(_digest(_asked(self._version, call)))
            if entry is not None and monotonic() < entry.fresh_until + self.cache.policy.on_error_s:
                return _answer(entry.value, Origin.STALE)
        return self._default(call)

    def _default(self, call: Call) -> Answer | None:
        table = self._fallback.table(call.arguments, call.view)
        return None if table is None else Answer(table, self._version, Origin.DEFAULT)

    def _within(self, view: View | None) -> SqlExecutor:
        """What asks the store for those who may see everything, or only what a view shows. Raises QueryError."""
        if view is None:
            return self.executor
        found = self._narrow.get(view)
        if found is None:
            if len(self._narrow) >= _MOST_VIEWS:
                self._narrow.clear()
            found = self._narrow[view] = self.executor.restricted(view.columns, view.condition)
        return found

    async def _fetch(self, executor: SqlExecutor, arguments: Any) -> execute.Answer:
        if _is_named(arguments):
            return await executor.call(*_named(arguments))
        return await executor.run(arguments)

    async def _stream(self, executor: SqlExecutor, arguments: Any) -> execute.Batches:
        if _is_named(arguments):
            return await executor.stream_call(*_named(arguments))
        return await executor.stream(arguments)


def _answer(found: execute.Answer, origin: Origin) -> Answer:
    columns, types = [column.name for column in found.columns], [column.type for column in found.columns]
    return Answer(Table(columns, found.rows, found.next, types), found.version, origin)


def _asked(version: str, call: Call) -> str:
    """The same for two queries that have the same answer."""
    return repr((version, _sorted(call.arguments), None if call.view is None else call.view.text))


def _digest(asked: str) -> bytes:
    return hashlib.sha256(asked.encode("utf-8", "surrogatepass")).digest()


def _is_named(arguments: Any) -> bool:
    return isinstance(arguments, Mapping) and "query" in arguments


def _named(arguments: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    unknown = [key for key in arguments if key not in _NAMED]
    name, parameters = arguments["query"], arguments.get("parameters") or {}
    if unknown or not isinstance(name, str) or not isinstance(parameters, Mapping):
        raise Refused("a named query is called by {'query': name, 'parameters': {name: value}}")
    return name, parameters


def _sorted(value: Any) -> Any:
    """Arguments in one order, whatever the order of keys in their JSON."""
    if isinstance(value, Mapping):
        return sorted((str(key), _sorted(item)) for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_sorted(item) for item in value]
    return (type(value).__name__, repr(value))


KIND = Kind(compile_sql, SqlApi)
