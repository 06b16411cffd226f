"""APIs in the process of the library: each compiled and opened when it is first asked for, and no other."""

from __future__ import annotations

import asyncio

from millrace.catalog import ApiRecord, Catalog
from millrace.errors import NotFound
from millrace.serving.call import Answer, Api, Call, Plan, degraded
from millrace.serving.kv.api import KvApi, make
from millrace.serving.kv.client import AsyncKv, CalledKv, LocalKv, UncachedKv
from millrace.serving.metrics import Metrics
from millrace.serving.plans import KvPlan, kind_of, kv_plan
from millrace.serving.refusals import UnknownApi
from millrace.serving.stores import Breakers
from millrace.spec.diagnostics import did_you_mean
from millrace.spec.settings import Settings


class LocalApis:
    """Opens APIs by name; the catalog is asked once for each. Belongs to one event loop. The `Host` of its APIs."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.breakers = Breakers(self.metrics)
        self._apis: dict[str, Api] = {}
        self._kvs: list[Api] = []
        self._lock = asyncio.Lock()

    async def kv(self, name: str) -> AsyncKv:
        """The KV API of that name, or the lookups of an asset. Raises NotFound that lists the APIs there are."""

        def compiled() -> KvPlan:
            with Catalog.open(self.settings.catalog_url) as catalog:
                return kv_plan(catalog, name)

        plan = await asyncio.to_thread(compiled)
        api = make(plan, self)
        await api.open()
        self._kvs.append(api)
        if not isinstance(api, KvApi):
            return CalledKv(api, plan)
        return UncachedKv(api) if api.cache is None else LocalKv(api)

    async def find(self, name: str, kind: str | None) -> Api:
        """The API of that name, and of that kind if one is asked for, open. Raises UnknownApi, or what `open` does."""
        found = self._apis.get(name)
        if found is None:
            async with self._lock:
                found = self._apis.get(name) or await self._opened(name)
        if kind not in (None, found.plan.kind):
            raise UnknownApi(f"'{name}' is a {found.plan.kind} API, not a {kind} API")
        return found

    async def call(self, api: str, kind: str | None, call: Call) -> Answer:
        """Call an API. Raises UnknownApi, and what the API raises."""
        found = await self.find(api, kind)
        try:
            async with asyncio.timeout(call.context.remaining_s()):
                return await found.call(call)
        except TimeoutError:
            instead = degraded(found, call)
            if instead is None:
                raise
            return instead

    async def close(self) -> None:
        """Close every API. A second call does nothing."""
        apis, self._apis = self._apis, {}
        kvs, self._kvs = self._kvs, []
        for api in (*apis.values(), *kvs):
            await api.close()

    async def _opened(self, name: str) -> Api:
        def compiled() -> Plan:
            with Catalog.open(self.settings.catalog_url) as catalog:
                return plan_of(catalog, name)

        plan = await asyncio.to_thread(compiled)
        api = kind_of(plan.kind).make(plan, self)
        await api.open()
        self._apis[name] = api
        return api


def plan_of(catalog: Catalog, name: str) -> Plan:
    """The plan of a published API. Raises UnknownApi, and what compiling raises."""
    record = _record(catalog, name)
    return kind_of(record.kind).compile(catalog, record)


def _record(catalog: Catalog, name: str) -> ApiRecord:
    records = {api.name: api for api in catalog.assets.apis()}
    found = records.get(name)
    if found is None:
        raise UnknownApi(f"there is no API '{name}'{did_you_mean(name, records)}")
    if found.definition is None:
        raise NotFound(f"the API '{name}' of {found.asset} is not published yet", hint="run its spec first")
    return found
