"""The overload guard: when the event loop falls behind, calls beyond what the worker can do are shed, low ones first.

The idea is that of TCP BBR, as Sentinel's system rule has it: what a worker can do is its best throughput times its
shortest latency (Little's law), both over the last seconds. More calls than that in flight only wait. So the guard has
two parts: a sign that the worker is late (how late its timer fires), and the number in flight that it can bear.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from millrace.spec.priority import Priority

#: How late the loop's timer may fire before calls of a priority are shed, in seconds.
LATE_S: Mapping[Priority, float] = {Priority.LOW: 0.02, Priority.MEDIUM: 0.05, Priority.HIGH: 0.2}
_WINDOW_S = 5.0
_BUCKET_S = 0.1
_LEAST_IN_FLIGHT = 8


@dataclass
class _Bucket:
    at: float
    ended: int = 0
    shortest_s: float = float("inf")


@dataclass
class Overload:
    """One worker's load. `tick` from its timer, `admit` and `ended` around each call; times are monotonic seconds."""

    late_s: float = 0.0
    in_flight: int = 0
    shed: int = 0
    _buckets: deque[_Bucket] = field(default_factory=deque)
    _bearable: int = _LEAST_IN_FLIGHT

    def tick(self, late_s: float, now: float) -> None:
        """The loop's timer fired so late. A single hiccup is forgotten within a few ticks."""
        self.late_s += 0.3 * (max(late_s, 0.0) - self.late_s)
        while self._buckets and self._buckets[0].at < now - _WINDOW_S:
            self._buckets.popleft()
        if self._buckets:
            best = max(b.ended for b in self._buckets) / _BUCKET_S
            shortest = min(b.shortest_s for b in self._buckets)
            self._bearable = max(_LEAST_IN_FLIGHT, int(best * shortest))

    def admit(self, priority: Priority, requests: int = 1) -> bool:
        """Whether a call may begin; then `ended` or `apart` must follow. One of several requests is shed by itself."""
        if self.late_s > LATE_S[priority] and self.in_flight + requests > self._bearable:
            self.shed += requests == 1
            return False
        self.in_flight += requests
        return True

    def apart(self, requests: int) -> None:
        """What was admitted has not begun: each of the requests asks by itself."""
        self.in_flight -= requests

    def ended(self, took_s: float, now: float, requests: int = 1) -> None:
        self.in_flight -= requests
        if not self._buckets or now - self._buckets[-1].at >= _BUCKET_S:
            self._buckets.append(_Bucket(now))
        bucket = self._buckets[-1]
        bucket.ended += requests
        bucket.shortest_s = min(bucket.shortest_s, took_s)
