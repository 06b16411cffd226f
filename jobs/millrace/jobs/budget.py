"""Rate limits and dirty-record limits as pure decisions: time and counts come in, a wait or a verdict goes out."""

from __future__ import annotations

from dataclasses import dataclass

SMALLEST_RATIO_SAMPLE = 10_000


@dataclass
class RateBudget:
    """One rate for the whole job, shared by all its tasks: the virtual-scheduling form of GCRA (ITU-T I.371).

    Every batch books its own stretch of time behind the batches booked before it and passes at that stretch's end, so
    that the mean over a run is the limit however unevenly tasks ask. Of idle time, at most `burst_s` seconds are saved.
    """

    per_second: float | None
    burst_s: float = 0.25
    _free_at: float = 0.0

    def book(self, amount: float, now: float) -> float:
        """Seconds to wait before `amount` more may pass at time `now`."""
        if self.per_second is None:
            return 0.0
        start = max(self._free_at, now - self.burst_s)
        self._free_at = start + amount / self.per_second
        return max(0.0, self._free_at - now)


@dataclass(frozen=True)
class DirtyLimit:
    """How many rows may be set aside. Both limits hold: the first one that is passed stops the run."""

    max_rows: int | None
    max_ratio: float | None
    kind: str = "dirty"  # its name in `limits`

    def verdict(self, dirty: int, seen: int, expected: int | None, *, final: bool) -> str | None:
        """Why the run must stop, or None.

        `seen` counts all rows so far, dirty ones too; `expected` is the plan's estimate of them. While a run goes on,
        the ratio is held against at least that estimate (10,000 rows without one), so that bad rows at the start of
        good data don't stop it; when `final`, against what was seen.
        """
        if dirty == 0:
            return None
        if self.max_rows is not None and dirty > self.max_rows:
            return f"{dirty:,} {self._noun}, limits.{self.kind}.max_rows allows {self.max_rows:,}"
        if self.max_ratio is not None:
            basis = seen if final else max(seen, expected or 0, SMALLEST_RATIO_SAMPLE)
            if dirty > self.max_ratio * basis:
                return (
                    f"{dirty:,} {self._noun} among {seen:,} rows ({dirty / max(seen, 1):.2%}), "
                    f"limits.{self.kind}.max_ratio allows {self.max_ratio:.2%}"
                )
        return None

    @property
    def _noun(self) -> str:
        return "dirty records" if self.kind == "dirty" else "rows to set aside"
