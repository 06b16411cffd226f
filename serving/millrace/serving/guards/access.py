"""Permissions: who a token belongs to, and what its consumer's grant for an API allows.

What is allowed stands in memory, as one snapshot of the catalog, replaced as a whole. A watcher asks twice a second
whether it has changed. While the catalog can't be read, what was last known holds; expiry needs no catalog.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic

from millrace.catalog import Catalog
from millrace.catalog.access_model import TOKEN_PREFIX, AccessSnapshot, Grant, token_digest
from millrace.errors import MillraceError
from millrace.serving.call import Call, Consumer, Plan
from millrace.serving.guards import Apart, Ended, Guard
from millrace.serving.guards.quotas import Quotas
from millrace.serving.guards.rates import SharedRate
from millrace.serving.refusals import Forbidden, Limited, Unauthenticated
from millrace.serving.views import View

log = logging.getLogger(__name__)

WATCH_S = 0.5
_MOST_KNOWN = 100_000


@dataclass(frozen=True)
class Allowed:
    """One grant, ready for requests. `ends` is on the wall clock, in seconds since 1970."""

    grant: Grant
    ends: float | None
    rate: SharedRate | None
    view: View | None

    def give_back(self, requests: int, quotas: Quotas) -> Ended:
        """What undoes the charge of so many requests when they are not let through together after all."""

        def undo(error: BaseException | None) -> None:
            if isinstance(error, Apart):
                if self.rate is not None:
                    self.rate.give_back(requests)
                if self.grant.terms.quota is not None:
                    quotas.give_back(self.grant, requests)

        return undo


Clock = Callable[[], datetime]


def _now() -> datetime:
    return datetime.now(UTC)


class Permissions:
    """One worker's knowledge of who may do what. `rate_of` makes a limit that all workers share, by its name."""

    def __init__(self, rate_of: Callable[[str, float], SharedRate], quotas: Quotas, clock: Clock = _now) -> None:
        self._rate_of = rate_of
        self._quotas = quotas
        self._clock = clock
        self._snapshot = AccessSnapshot(-1, {}, {}, {})
        self._allowed: dict[int, Allowed] = {}
        self._by_consumer: Mapping[str, Mapping[str, Allowed]] = {}
        self._known: dict[str, tuple[Consumer, float | None]] = {}
        self.problem = ""

    def identify(self, credential: str) -> Consumer:
        """The consumer of an `Authorization` header's `Bearer` token. Raises Unauthenticated."""
        known = self._known.get(credential)
        if known is None:
            known = self._look_up(credential)
        consumer, ends = known
        if ends is not None and self._clock().timestamp() >= ends:
            raise Unauthenticated("this token has expired", hint="ask for another one: `millrace access token`")
        return consumer

    def guard(self, plan: Plan) -> Guard:
        """The guard of one API: the consumer has a grant for it that holds, within its rate and quota."""
        api = plan.api
        now, quotas = self._clock, self._quotas

        def check(call: Call) -> Ended | None:
            consumer = call.context.consumer
            allowed = (consumer.grants or {}).get(api)
            if allowed is None or (allowed.ends is not None and now().timestamp() >= allowed.ends):
                raise Forbidden(
                    f"'{consumer.name}' has no grant for '{api}'{' any more' if allowed else ''}",
                    hint=f"ask for one: `millrace access request {consumer.name} {api}`",
                )
            requests = call.requests
            if allowed.rate is not None and (wait_s := allowed.rate.take(monotonic(), requests)):
                rate = allowed.grant.terms.requests_per_second
                raise Limited(f"'{consumer.name}' may ask '{api}' {rate} times a second", retry_after_s=wait_s)
            if allowed.grant.terms.quota is not None:
                try:
                    quotas.take(allowed.grant, now(), requests)
                except Limited:
                    if requests > 1 and allowed.rate is not None:
                        allowed.rate.give_back(requests)
                    raise
            call.view = allowed.view
            return None if requests == 1 else allowed.give_back(requests, quotas)

        return check

    def refresh(self, catalog: Catalog) -> bool:
        """Take over what the catalog says, if it has changed; whether it had. Raises TransientError."""
        if catalog.access.generation() == self._snapshot.generation:
            return False
        self.use(catalog.access.snapshot())
        return True

    def use(self, snapshot: AccessSnapshot) -> None:
        """Hold this snapshot from now on. A grant that has not changed keeps its rate's state."""
        allowed = {grant.id: self._allowed_by(grant) for grant in snapshot.grants.values()}
        by_consumer: dict[str, dict[str, Allowed]] = {name: {} for name in snapshot.consumers}
        for grant in snapshot.grants.values():
            by_consumer.setdefault(grant.consumer, {})[grant.api] = allowed[grant.id]
        self._snapshot, self._allowed, self._by_consumer, self._known = snapshot, allowed, by_consumer, {}

    async def watch(self, catalog: Catalog) -> None:
        """Follow the catalog until cancelled."""
        while True:
            await asyncio.sleep(WATCH_S)
            try:
                await asyncio.to_thread(self.refresh, catalog)
                self.problem = ""
            except MillraceError as error:
                if not self.problem:
                    log.warning("permissions can't be read, and hold as they were: %s", error.message)
                self.problem = error.message
            except Exception:  # a watcher that ends would never see a revocation
                log.exception("reading permissions failed; trying again")

    def _look_up(self, credential: str) -> tuple[Consumer, float | None]:
        scheme, _, text = credential.partition(" ")
        if scheme.lower() != "bearer" or not text.startswith(TOKEN_PREFIX):
            raise Unauthenticated(
                "this request has no token" if not credential else "this is no token of millrace",
                hint="send `Authorization: Bearer mr_…`; `millrace access add` gives one",
            )
        snapshot = self._snapshot
        token = snapshot.tokens.get(token_digest(text))
        if token is None:
            raise Unauthenticated(
                "this token is unknown or revoked", hint="`millrace access tokens` lists the valid ones"
            )
        about = snapshot.consumers[token.consumer]
        consumer = Consumer(about.name, self._by_consumer.get(about.name, {}), about.priority)
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[credential] = found = (consumer, token.expires_at.timestamp() if token.expires_at else None)
        return found

    def _allowed_by(self, grant: Grant) -> Allowed:
        known = self._allowed.get(grant.id)
        if known is not None and known.grant == grant:
            return known
        terms = grant.terms
        rate = terms.requests_per_second
        restricted = terms.columns is not None or terms.row_filter is not None
        return Allowed(
            grant=grant,
            ends=terms.expires_at.timestamp() if terms.expires_at else None,
            rate=None if rate is None else self._rate_of(f"grant {grant.id} at {rate}", rate),
            view=View(terms.columns, terms.row_filter) if restricted else None,
        )
