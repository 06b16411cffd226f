"""Rate limits: a budget of requests a second, charged one by one, shared by a server's workers by their demand.

The algorithm is GCRA (the virtual-scheduling form of the leaky bucket, ITU-T I.371): one number a limit, no timer, and
a refused caller is told exactly when to come again.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
from dataclasses import dataclass
from pathlib import Path

BURST_S = 1.0
_SLOT = struct.Struct("<dd")  # requests a second that a worker was asked for, and when it said so (monotonic clock)
_FORGET_S = 3.0


class Bucket:
    """At most `rate` requests a second in the long run, and `rate * burst_s` (at least one) at once.

    Times are seconds of one monotonic clock. Not safe between threads: a worker is one event loop.
    """

    __slots__ = ("_arrival", "_burst_s", "rate")

    def __init__(self, rate: float, burst_s: float = BURST_S) -> None:
        self.rate = rate
        self._burst_s = burst_s
        self._arrival = 0.0  # when the next request would be due if all came evenly

    def take(self, now: float, requests: int = 1) -> float:
        """0.0 and all requests are charged; or the seconds after which they would be let through, and none is."""
        interval = 1.0 / self.rate
        arrival = self._arrival if self._arrival > now else now
        due = arrival + interval * requests
        early = due - now - max(self._burst_s, interval)
        if early > 1e-9:
            return early
        self._arrival = due
        return 0.0

    def give_back(self, requests: int) -> None:
        """These requests were charged just now, and have not been let through after all."""
        self._arrival -= requests / self.rate


@dataclass
class _Demand:
    """How often a worker was asked, as a moving average over about a second."""

    rate: float = 0.0
    count: int = 0
    since: float = 0.0

    def settle(self, now: float) -> float:
        passed = now - self.since
        weight = min(1.0, passed)
        self.rate += weight * (self.count / passed - self.rate)
        self.count, self.since = 0, now
        return self.rate


class SharedRate:
    """One limit over all workers of a server: each takes the share of it that its own demand is of all demand.

    Workers tell each other their demand ten times a second through a small mapped file, each in a slot of its own, so
    there is no lock and nothing to wait for. A worker that was never asked has the share of an even split, and one
    that has said nothing for three seconds (it is idle, or gone) counts for nothing.
    """

    _EVERY_S = 0.1

    def __init__(self, limit: float, slots: Slots | None = None) -> None:
        self._limit = limit
        self._slots = slots
        self._bucket = Bucket(limit / (slots.workers if slots else 1))
        self._demand = _Demand()

    def take(self, now: float, requests: int = 1) -> float:
        """See `Bucket.take`."""
        if self._slots is not None:
            demand = self._demand
            demand.count += requests
            if not demand.since:
                demand.since = now
            elif now - demand.since >= self._EVERY_S:
                self._share(self._slots, now)
        return self._bucket.take(now, requests)

    def give_back(self, requests: int) -> None:
        """See `Bucket.give_back`."""
        self._demand.count -= requests
        self._bucket.give_back(requests)

    def _share(self, slots: Slots, now: float) -> None:
        own = self._demand.settle(now)
        slots.say(own, now)
        others = slots.others(now)
        total = own + others
        # never less than a tenth of an even split: a worker that wakes up is heard before its share has grown
        share = max(own / total if total else 1.0, 0.1 / slots.workers)
        self._bucket.rate = self._limit * share


class Slots:
    """One limit's file: a slot a worker. `folder` is the server's own, and goes away with it."""

    def __init__(self, folder: Path, name: str, worker: int, workers: int) -> None:
        self.workers = workers
        self._worker = worker
        path = folder / f"rate-{hashlib.sha256(name.encode()).hexdigest()[:32]}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.ftruncate(descriptor, _SLOT.size * workers)
            self._memory = mmap.mmap(descriptor, _SLOT.size * workers)
        finally:
            os.close(descriptor)

    def say(self, demand: float, now: float) -> None:
        """Tell the other workers how many requests a second this one is asked for."""
        _SLOT.pack_into(self._memory, self._worker * _SLOT.size, demand, now)

    def others(self, now: float) -> float:
        """The other workers' demand together, in requests a second."""
        total = 0.0
        for worker, (demand, at) in enumerate(_SLOT.iter_unpack(self._memory)):
            if worker != self._worker and 0.0 <= now - at < _FORGET_S:
                total += demand
        return total
