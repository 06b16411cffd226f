"""Quotas: how many requests a grant allows in an hour, a day or a month, over all servers and restarts.

Counts live in the catalog. A worker counts in memory and adds what is new every second; the answer tells it what all
have counted. So a quota is overrun at most by what all workers let through within that second.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from millrace.catalog import Catalog
from millrace.catalog.access_model import Grant, QuotaPeriod
from millrace.errors import MillraceError
from millrace.serving.refusals import Limited

log = logging.getLogger(__name__)

FLUSH_S = 1.0


def period_start(period: QuotaPeriod, now: datetime) -> datetime:
    """When the period that `now` (in UTC) lies in began."""
    start = now.replace(minute=0, second=0, microsecond=0)
    if period is QuotaPeriod.HOUR:
        return start
    return start.replace(hour=0) if period is QuotaPeriod.DAY else start.replace(hour=0, day=1)


def period_end(period: QuotaPeriod, start: datetime) -> datetime:
    """When the period that began at `start` ends."""
    match period:
        case QuotaPeriod.HOUR:
            return start + timedelta(hours=1)
        case QuotaPeriod.DAY:
            return start + timedelta(days=1)
        case QuotaPeriod.MONTH:
            return (start + timedelta(days=32)).replace(day=1)


@dataclass
class _Count:
    """`before`: what all servers have counted, as of the last flush; `new`: what this one has counted since."""

    start: datetime
    end: datetime
    before: int = 0
    new: int = 0


class Quotas:
    """One worker's counts, by grant. Belongs to one event loop."""

    def __init__(self) -> None:
        self._counts: dict[int, _Count] = {}

    def take(self, grant: Grant, now: datetime, requests: int = 1) -> None:
        """Charge so many requests, or none. Raises Limited when that is more than the period's quota."""
        quota, period = grant.terms.quota, grant.terms.quota_period
        assert quota is not None
        assert period is not None
        count = self._counts.get(grant.id)
        if count is None or now >= count.end:
            start = period_start(period, now)
            count = self._counts[grant.id] = _Count(start, period_end(period, start))
        if count.before + count.new + requests > quota:
            raise Limited(
                f"'{grant.consumer}' has used up its {quota:,} requests to '{grant.api}' of this {period}",
                hint=f"the next {period} begins at {count.end:%Y-%m-%d %H:%M} UTC",
                retry_after_s=(count.end - now).total_seconds(),
            )
        count.new += requests

    def give_back(self, grant: Grant, requests: int) -> None:
        """These requests were charged just now, and have not been let through after all."""
        self._counts[grant.id].new -= requests

    def pending(self) -> dict[tuple[int, datetime], int]:
        """What is to be added in the catalog: new requests by grant and period; 0 where only the sum is wanted."""
        return {(grant_id, count.start): count.new for grant_id, count in self._counts.items()}

    def settle(self, sent: dict[tuple[int, datetime], int], totals: dict[tuple[int, datetime], int]) -> None:
        """What was `sent` is in the catalog now, whose sums are these."""
        for (grant_id, start), new in sent.items():
            count = self._counts.get(grant_id)
            if count is not None and count.start == start:
                count.new -= new
                count.before = totals.get((grant_id, start), count.before + new)

    async def keep_flushing(self, catalog: Catalog) -> None:
        """Flush every second until cancelled, and once more then."""
        try:
            while True:
                await asyncio.sleep(FLUSH_S)
                await self.flush(catalog)
        finally:
            await asyncio.shield(self.flush(catalog))

    async def flush(self, catalog: Catalog) -> None:
        """Add what is new, and learn the sums. A catalog that is away is asked again the next time."""
        sent = self.pending()
        if not sent:
            return
        try:
            self.settle(sent, await asyncio.to_thread(catalog.usage.add, sent))
        except MillraceError as error:
            log.warning("quotas could not be counted in the catalog, and are counted here: %s", error.message)
