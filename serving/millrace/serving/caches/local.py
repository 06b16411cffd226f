"""L1: a bounded dict in the process. A hit is one lookup and one comparison.

When it is full, the oldest entry that was not used since it was last passed over makes room (CLOCK): close to least
recently used, without moving anything on a hit. What has left is past its `soft_until`, for whoever still holds it.
"""

from __future__ import annotations

from typing import Any


class Entry:
    """One kept answer. `soft_until`: from then on one caller refreshes it early; `fresh_until`: from then on it is
    stale. Times are on the clock of `time.monotonic`. `row` is for who decodes `value`, so that it is done once, and
    `key_type` for who finds it by the key that a caller gave."""

    __slots__ = ("fresh_until", "key_type", "row", "soft_until", "used", "value")

    def __init__(self, value: Any, soft_until: float, fresh_until: float) -> None:
        self.value = value
        self.soft_until = soft_until
        self.fresh_until = fresh_until
        self.used = False
        self.row: Any = None
        self.key_type: Any = None


class LocalCache:
    """At most `size` entries by key."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.entries: dict[Any, Entry] = {}
        self.evicted = 0

    def put(self, key: Any, entry: Entry) -> None:
        entries = self.entries
        old = entries.get(key)
        if old is not None:
            old.soft_until = 0.0
        elif len(entries) >= self.size:
            self._make_room()
        entries[key] = entry

    def _make_room(self) -> None:
        entries = self.entries
        for _ in range(len(entries)):
            oldest = next(iter(entries))
            entry = entries.pop(oldest)
            if not entry.used:
                entry.soft_until = 0.0
                break
            entry.used = False
            entries[oldest] = entry
        else:
            entries.pop(next(iter(entries))).soft_until = 0.0
        self.evicted += 1
