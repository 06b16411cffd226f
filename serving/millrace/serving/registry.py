"""The APIs that a process serves: one immutable snapshot, replaced as a whole when the catalog has changed.

A watcher asks the catalog twice a second for what would be different if an API were new, changed or removed. What has
changed is compiled and opened aside; then one reference is swapped, so a request sees the old snapshot or the new one.
An API that can't be compiled or opened keeps its last good plan, and is reported until it works again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic

from millrace.catalog import ApiMark, ApiRecord, Catalog
from millrace.errors import MillraceError
from millrace.serving import tracing
from millrace.serving.call import Answer, Api, Call, Plan, degraded
from millrace.serving.guards import Guard, GuardMaker, chain, enter, leave_all
from millrace.serving.metrics import Metrics
from millrace.serving.plans import kind_of
from millrace.serving.refusals import DeadlineExceeded, UnknownApi, status_of
from millrace.serving.stores import Breakers
from millrace.spec.diagnostics import did_you_mean
from millrace.spec.settings import Settings

log = logging.getLogger(__name__)

WATCH_S = 0.5
RETRY_BROKEN_S = 5.0
OPEN_TIMEOUT_S = 30.0
_GRACE_S = 5.0


class Served:
    """An open API behind its guards. `call` is the one way in for all transports; HTTP's fast lane does the same."""

    def __init__(self, api: Api, guards: Sequence[Guard], metrics: Metrics) -> None:
        self.api = api
        self.plan: Plan = api.plan
        self.guards = tuple(guards)
        self.metrics = metrics
        self.calls = 0  # that are in flight
        self._timeout_s = self.plan.profile.timeout_s

    async def call(self, call: Call) -> Answer:
        """Pass the guards, and answer within the call's deadline and the API's timeout. Raises what they raise."""
        started = monotonic()
        code, origin = "ok", "none"
        self.calls += 1
        try:
            answer = await self._guarded(call)
            origin = answer.origin
            return answer
        except asyncio.CancelledError:
            code = "cancelled"
            raise
        except Exception as error:
            code = status_of(error)[1]
            raise
        finally:
            self.calls -= 1
            self.metrics.request(self.plan.api, call.context.consumer.name, origin, code, monotonic() - started)

    async def _guarded(self, call: Call) -> Answer:
        ended = enter(self.guards, call) if self.guards else ()
        try:
            if tracing.on():
                with tracing.span(f"{self.plan.kind} {call.operation}", call.context.trace, api=self.plan.api):
                    answer = await self._in_time(call)
            else:
                answer = await self._in_time(call)
        except BaseException as error:
            leave_all(ended, error)
            raise
        leave_all(ended, None)
        return answer

    async def _in_time(self, call: Call) -> Answer:
        limit_s, remaining_s = self._timeout_s, call.context.remaining_s()
        if remaining_s is not None:
            limit_s = remaining_s if limit_s is None else min(limit_s, remaining_s)
        if limit_s is None:
            return await self.api.call(call)
        try:
            async with asyncio.timeout(max(limit_s, 0)):
                return await self.api.call(call)
        except TimeoutError as error:
            found = degraded(self.api, call)
            if found is not None:
                return found
            raise DeadlineExceeded(
                f"{self.plan.api} had no answer within {limit_s * 1000:.0f} ms",
                hint="the store is slow or away; `limits.timeout` of the API and the request's own deadline both count",
            ) from error


@dataclass(frozen=True)
class Snapshot:
    """All that is served at one time. `broken`: why an API is not as the catalog says, by name."""

    apis: Mapping[str, Served] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)
    marks: Mapping[str, ApiMark] = field(default_factory=dict)


class Registry:
    """Compiles, opens and swaps the APIs of one catalog. Belongs to one event loop. It is the `Host` of its APIs."""

    def __init__(self, settings: Settings, metrics: Metrics | None = None, guards: Sequence[GuardMaker] = ()) -> None:
        self.settings = settings
        self.metrics = metrics or Metrics()
        self.breakers = Breakers(self.metrics)
        self.snapshot = Snapshot()
        self.catalog_problem = ""
        self._guards = tuple(guards)
        self._catalog: Catalog | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self._retry_at = 0.0

    async def open(self) -> None:
        """Open the catalog and every API, then watch. Raises ConfigError or TransientError when there is no catalog.

        An API that can't be opened keeps no other from being served.
        """
        self._catalog = await asyncio.to_thread(Catalog.open, self.settings.catalog_url)
        await self.refresh()
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def close(self) -> None:
        """Stop watching and close every API at once."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        for task in self._leaving:
            task.cancel()
        served, self.snapshot = self.snapshot.apis, Snapshot()
        await asyncio.gather(*self._leaving, *(one.api.close() for one in served.values()), return_exceptions=True)
        if self._catalog is not None:
            await asyncio.to_thread(self._catalog.close)

    def find(self, name: str, kind: str | None = None) -> Served:
        """The API of that name, and of that kind if one is asked for. Raises UnknownApi."""
        served = self.snapshot.apis.get(name)
        if served is None or kind not in (None, served.plan.kind):
            known = [n for n, s in self.snapshot.apis.items() if kind in (None, s.plan.kind)]
            what = f"{kind} API" if kind else "API"
            hint = self.snapshot.broken.get(name) or "an API is there as soon as a run has published it"
            raise UnknownApi(f"there is no {what} '{name}'{did_you_mean(name, known)}", hint=hint)
        return served

    async def call(self, api: str, kind: str | None, call: Call) -> Answer:
        """Call an API through its guards. Raises UnknownApi, and what the API raises."""
        return await self.find(api, kind).call(call)

    async def refresh(self) -> bool:
        """Bring the snapshot to what the catalog says now; whether it has changed. Raises TransientError."""
        assert self._catalog is not None
        catalog = self._catalog
        marks = {mark.name: mark for mark in await asyncio.to_thread(catalog.assets.api_marks)}
        before = self.snapshot
        again = bool(before.broken) and monotonic() >= self._retry_at
        if marks == before.marks and not again:
            return False
        self._retry_at = monotonic() + RETRY_BROKEN_S
        stale = [n for n, mark in marks.items() if before.marks.get(n) != mark or n in before.broken]
        records = {api.name: api for api in await asyncio.to_thread(catalog.assets.apis)}
        found = await asyncio.gather(*(self._renewed(catalog, records[n], before) for n in stale if n in records))
        self._swap(before, marks, dict(zip([n for n in stale if n in records], found, strict=True)))
        return True

    def _swap(self, before: Snapshot, marks: Mapping[str, ApiMark], renewed: Mapping[str, Served | str]) -> None:
        apis = {name: served for name, served in before.apis.items() if name in marks}
        broken = {name: why for name, why in before.broken.items() if name in marks and name not in renewed}
        for name, outcome in renewed.items():
            if isinstance(outcome, Served):
                apis[name] = outcome
            else:
                broken[name] = outcome
        self.snapshot = Snapshot(apis, broken, marks)
        for name, old in before.apis.items():
            if apis.get(name) is not old:
                task = asyncio.get_running_loop().create_task(_retire(old))
                self._leaving.add(task)
                task.add_done_callback(self._leaving.discard)

    async def _renewed(self, catalog: Catalog, record: ApiRecord, before: Snapshot) -> Served | str:
        """The API as the catalog says now, open; the one there is when its plan is still the same; or the reason."""
        try:
            kind = kind_of(record.kind)
            plan = await asyncio.to_thread(kind.compile, catalog, record)
            old = before.apis.get(record.name)
            if old is not None and old.plan == plan:
                return old
            api = kind.make(plan, self)
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                await api.open()
            log.info("serving %s '%s' of asset %s", plan.kind, plan.api, plan.asset)
            return Served(api, chain(self._guards, plan), self.metrics)
        except Exception as error:  # whatever is wrong with one API must not take the others down
            why = error.message if isinstance(error, MillraceError) else f"{type(error).__name__}: {error}"
            keeps = "its last good plan keeps serving" if record.name in before.apis else "it is not served"
            if before.broken.get(record.name) != why:
                log.error("the API '%s' can't be used as the catalog says, and %s: %s", record.name, keeps, why)
            self.metrics.count("reload_failures", api=record.name)
            return why

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_S)
            try:
                await self.refresh()
                self.catalog_problem = ""
            except MillraceError as error:
                if not self.catalog_problem:
                    log.warning("the catalog can't be read; APIs are served as they were: %s", error.message)
                self.catalog_problem = error.message
            except Exception:  # a watcher that ends would leave the server stale without a word
                log.exception("watching the catalog failed; trying again")


async def _retire(old: Served) -> None:
    """Close an API that was replaced, when nobody can be using it any more; at once when this is cancelled."""
    try:
        await asyncio.sleep(_GRACE_S)
        while old.calls:
            await asyncio.sleep(0.1)
    finally:
        await old.api.close()
