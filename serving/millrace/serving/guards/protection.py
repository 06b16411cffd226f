"""All guards of a worker, put together: overload, permissions, rates, bulkheads; and their work in the background.

The order is that of their price and of who is to blame: a worker that is late sheds first, then a caller's own grant is
looked at, then what all callers of an API share, and last a slot is taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from millrace.catalog import Catalog
from millrace.serving.call import ANONYMOUS, Call, Consumer, Plan
from millrace.serving.guards import Apart, Ended, Guard, GuardMaker
from millrace.serving.guards.access import Permissions
from millrace.serving.guards.bulkheads import Compartment, Shares, Ship, enter, leave
from millrace.serving.guards.overload import Overload
from millrace.serving.guards.quotas import Quotas
from millrace.serving.guards.rates import SharedRate, Slots
from millrace.serving.metrics import Metrics
from millrace.serving.refusals import Limited, Overloaded
from millrace.spec.priority import Priority

_TICK_S = 0.02
_WORST_FIRST = (Priority.LOW, Priority.MEDIUM, Priority.HIGH)


@dataclass(frozen=True)
class Rules:
    """How a server is protected. `folder` is where its workers share their rates; None for a single worker."""

    permissions: bool = True
    worker: int = 0
    workers: int = 1
    folder: Path | None = None
    shares: Shares = field(default_factory=Shares)


class Protection:
    """One worker's guards. `open` before the first request; `close` at the end."""

    def __init__(self, rules: Rules | None = None) -> None:
        self._rules = rules or Rules()
        self._overload = Overload()
        self._ship = Ship(self._rules.shares)
        self._quotas = Quotas()
        self._permissions = Permissions(self._rate, self._quotas) if self._rules.permissions else None
        self._catalog: Catalog | None = None
        self._work: list[asyncio.Task[None]] = []

    @property
    def makers(self) -> Sequence[GuardMaker]:
        """What makes each API's guards, in their order."""
        access = [self._permissions.guard] if self._permissions is not None else []
        return (self._overload_guard, *access, self._rate_guard, self._bulkhead_guard)

    @property
    def catalog(self) -> Catalog | None:
        """The catalog whose permissions hold here; None where they are off, or before `open`."""
        return self._catalog

    @property
    def problem(self) -> str:
        """Why permissions may be out of date; empty when they are not."""
        return self._permissions.problem if self._permissions is not None else ""

    def identify(self, credential: str) -> Consumer:
        """The consumer of a request's `Authorization`. Raises Unauthenticated where permissions are on."""
        return ANONYMOUS if self._permissions is None else self._permissions.identify(credential)

    def watch(self, metrics: Metrics) -> None:
        """Let the numbers of these guards be seen."""
        metrics.gauge("loop_late_seconds", lambda: self._overload.late_s)
        metrics.gauge("calls_in_flight", lambda: float(self._overload.in_flight))

    async def open(self, catalog_url: str) -> None:
        """Read what is allowed, and begin to follow it. Raises ConfigError or TransientError without a catalog."""
        loop = asyncio.get_running_loop()
        self._work = [loop.create_task(self._tick())]
        if self._permissions is not None:
            catalog = self._catalog = await asyncio.to_thread(Catalog.open, catalog_url)
            await asyncio.to_thread(self._permissions.refresh, catalog)
            self._work.append(loop.create_task(self._permissions.watch(catalog)))
            self._work.append(loop.create_task(self._quotas.keep_flushing(catalog)))

    async def close(self) -> None:
        """Stop, and count what quotas have not counted yet."""
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        if self._catalog is not None:
            await asyncio.to_thread(self._catalog.close)

    async def _tick(self) -> None:
        """Tell the overload guard how late this loop's timer fires."""
        while True:
            due = monotonic() + _TICK_S
            await asyncio.sleep(_TICK_S)
            now = monotonic()
            self._overload.tick(now - due, now)

    def _rate(self, name: str, limit: float) -> SharedRate:
        rules = self._rules
        if rules.folder is None or rules.workers == 1:
            return SharedRate(limit)
        return SharedRate(limit, Slots(rules.folder, name, rules.worker, rules.workers))

    def _overload_guard(self, plan: Plan) -> Guard:
        load, api = self._overload, plan.api
        lower = {other: min(plan.profile.priority, other, key=_WORST_FIRST.index) for other in Priority}

        def shed(call: Call) -> Ended:
            priority, requests = lower[call.context.priority or call.context.consumer.priority], call.requests
            if not load.admit(priority, requests):
                raise Overloaded(
                    f"this server is overloaded, and calls of '{api}' with priority {priority} are shed",
                    hint="come again in a moment; with more workers or servers it would not have to",
                    retry_after_s=1.0,
                )
            started = monotonic()

            def ended(error: BaseException | None) -> None:
                if requests > 1 and isinstance(error, Apart):
                    load.apart(requests)
                    return
                now = monotonic()
                load.ended(now - started, now, requests)

            return ended

        return shed

    def _rate_guard(self, plan: Plan) -> Guard | None:
        limit = plan.profile.limits.get("requests_per_second")
        if not limit:
            return None
        rate, api = self._rate(f"api {plan.api} at {limit}", float(limit)), plan.api

        def check(call: Call) -> Ended | None:
            requests = call.requests
            wait_s = rate.take(monotonic(), requests)
            if wait_s:
                raise Limited(f"'{api}' takes {limit} requests a second from all together", retry_after_s=wait_s)
            if requests == 1:
                return None
            return lambda error: rate.give_back(requests) if isinstance(error, Apart) else None

        return check

    def _bulkhead_guard(self, plan: Plan) -> Guard:
        profile, api = plan.profile, plan.api
        own = profile.limits.get("concurrency")
        compartment = None if not own else Compartment(f"API {api}", int(own))
        taken = self._ship.compartments(profile.business_line, profile.priority, compartment)

        def out(_error: BaseException | None) -> None:
            leave(taken)

        def board(call: Call) -> Ended:
            requests = call.requests
            full = enter(taken, requests)
            if full is not None:
                raise Overloaded(
                    f"all {full.slots} slots of {full.name} are taken, so '{api}' takes no more calls now",
                    hint="its store is slow, or too many ask at once; come again in a moment",
                    retry_after_s=0.1,
                )
            return out if requests == 1 else lambda _error: leave(taken, requests)

        return board
