"""Circuit breakers: a store that fails is left alone for a while, then asked a few times before it is trusted again.

    closed ──too many failures──▶ open ──pause over──▶ half open ──probes pass──▶ closed
                                   ▲                       │
                                   └─────── a probe fails ─┘   (the pause doubles)

Failures are those of the store (away, or too slow); a refused request says nothing about it. Counting is over a
sliding window of whole seconds. Pure: times come in, decisions go out.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True)
class BreakerRules:
    """When a breaker opens: `in_a_row` failures one after the other, which even few calls show; or, of at least
    `min_calls` in `window_s`, `failure_ratio`."""

    in_a_row: int = 5
    window_s: int = 10
    min_calls: int = 20
    failure_ratio: float = 0.5
    first_pause_s: float = 1.0
    longest_pause_s: float = 30.0
    probes: int = 3


@dataclass
class _Second:
    at: int
    calls: int = 0
    failures: int = 0


@dataclass
class Breaker:
    """One store's breaker in one process. `admit` before a call, `tell` when it has ended."""

    name: str
    rules: BreakerRules = field(default_factory=BreakerRules)
    state: BreakerState = BreakerState.CLOSED
    opened: int = 0  # how often, for metrics
    _seconds: deque[_Second] = field(default_factory=deque)
    _pause_s: float = 0.0
    _closed_again_at: float = 0.0
    _probing: int = 0
    _passed: int = 0
    _in_a_row: int = 0

    def admit(self, now: float) -> float:
        """0.0: go on. Otherwise the store is left alone: the seconds until it is asked again."""
        if self.state is BreakerState.CLOSED:
            return 0.0
        if self.state is BreakerState.OPEN:
            if now < self._closed_again_at:
                return self._closed_again_at - now
            self.state, self._probing, self._passed = BreakerState.HALF_OPEN, 0, 0
        if self._probing + self._passed >= self.rules.probes:
            return self.rules.first_pause_s
        self._probing += 1
        return 0.0

    def tell(self, failed: bool, now: float) -> None:
        """How an admitted call has ended."""
        seconds = self._seconds
        if not failed and seconds and now < seconds[-1].at + 1 and self.state is BreakerState.CLOSED:
            seconds[-1].calls += 1  # as `_count` does, for most calls
            self._in_a_row = 0
            return
        if self.state is BreakerState.HALF_OPEN:
            self._tell_probe(failed, now)
        elif self.state is BreakerState.CLOSED:
            self._count(failed, int(now))
            if failed and self._too_many():
                self._open(now)

    def forget(self) -> None:
        """An admitted call has ended without saying anything about the store: it was cancelled, or refused."""
        if self.state is BreakerState.HALF_OPEN:
            self._probing = max(0, self._probing - 1)

    def _tell_probe(self, failed: bool, now: float) -> None:
        self._probing = max(0, self._probing - 1)
        if failed:
            self._open(now)
            return
        self._passed += 1
        if self._passed >= self.rules.probes:
            self.state, self._pause_s = BreakerState.CLOSED, 0.0
            self._seconds.clear()

    def _open(self, now: float) -> None:
        self._pause_s = min(self._pause_s * 2 or self.rules.first_pause_s, self.rules.longest_pause_s)
        self.state, self._closed_again_at = BreakerState.OPEN, now + self._pause_s
        self.opened += 1
        self._in_a_row = 0
        self._seconds.clear()

    def _count(self, failed: bool, second: int) -> None:
        seconds = self._seconds
        if not seconds or second > seconds[-1].at:
            seconds.append(_Second(second))
            while seconds[0].at <= second - self.rules.window_s:
                seconds.popleft()
        seconds[-1].calls += 1
        seconds[-1].failures += failed
        self._in_a_row = self._in_a_row + 1 if failed else 0

    def _too_many(self) -> bool:
        if self._in_a_row >= self.rules.in_a_row:
            return True
        calls = sum(s.calls for s in self._seconds)
        failures = sum(s.failures for s in self._seconds)
        return calls >= self.rules.min_calls and failures >= calls * self.rules.failure_ratio
