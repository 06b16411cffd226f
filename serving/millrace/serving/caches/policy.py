"""How long an answer is used, as a spec's `cache` says, in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from millrace.spec.shape import apis

#: The last part of an answer's life in which one caller refreshes it ahead of time.
EARLY_SHARE = 0.1


@dataclass(frozen=True)
class Policy:
    """An answer is fresh for `ttl_s`, and may be given stale for a while after that; 0 means not at all.

    `shared` names the connection of L2, "" without one; the sizes are bytes.
    """

    ttl_s: float
    size: int
    revalidate_s: float = 0.0
    on_error_s: float = 0.0
    negative_ttl_s: float = 0.0
    shared: str = ""
    compression: apis.CacheCompression = apis.CacheCompression.NONE
    compress_above: int = 256
    largest: int = 1 << 20

    @classmethod
    def of(cls, cache: apis.Cache) -> Policy:
        return cls(
            ttl_s=cache.ttl.total_seconds(),
            size=cache.size,
            revalidate_s=_seconds(cache.stale_while_revalidate),
            on_error_s=_seconds(cache.stale_on_error),
            negative_ttl_s=_seconds(cache.negative_ttl),
            shared=cache.shared or "",
            compression=cache.compression,
            compress_above=cache.compress_above,
            largest=cache.largest,
        )

    def fresh_s(self, value: object) -> float:
        """How long this value is fresh; None stands for "no such key"."""
        return self.negative_ttl_s if value is None else self.ttl_s

    @property
    def kept_s(self) -> float:
        """How long an answer may be of use after it is no longer fresh."""
        return max(self.revalidate_s, self.on_error_s)


def _seconds(value: timedelta | None) -> float:
    return 0.0 if value is None else value.total_seconds()
