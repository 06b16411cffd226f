"""Gets of single keys that came at the same time, asked for at once: which of them can be, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from millrace.connectors.base import Form, StoredReader
from millrace.serving.caches import Cache
from millrace.serving.kv.rows import StoredRow


@dataclass(slots=True)
class Sorting:
    """Places of keys: of those to be fetched; of those that are kept, with what is kept; of those that need more care
    (what is kept is stale, somebody fetches it already, or other servers' cache is to be asked)."""

    fetched: Sequence[int]
    kept: list[tuple[int, StoredRow | None]] = field(default_factory=list)
    alone: list[int] = field(default_factory=list)


def sorted_by_cache(cache: Cache | None, stored_keys: Sequence[bytes]) -> Sorting:
    """Where each of these keys is to be got from."""
    everywhere = range(len(stored_keys))
    if cache is None or (not cache.has_shared and cache.untouched(stored_keys)):
        return Sorting(everywhere)
    now, fetched, found = monotonic(), [], Sorting(())
    for place in everywhere:
        key = stored_keys[place]
        entry = cache.local.entries.get(key)
        if entry is not None and now < entry.soft_until:
            entry.used = True
            found.kept.append((place, entry.value))
        elif entry is not None or cache.has_shared or cache.is_claimed(key):
            found.alone.append(place)
        else:
            fetched.append(place)
    found.fetched = fetched
    return found


async def fetch_together(
    source: StoredReader, cache: Cache | None, form: Form, keys: Sequence[Any], stored_keys: Sequence[bytes]
) -> tuple[Form, Sequence[Any]]:
    """The rows under keys that `sorted_by_cache` said are to be fetched, by one question; all of one version."""
    if cache is None:
        return await source.fetch_all(form, keys, stored_keys)
    cache.claim_all(stored_keys)
    try:
        later, rows = await source.fetch_all(form, keys, stored_keys)
    except BaseException as error:
        cache.abandon_all(stored_keys, error)
        raise

    def row(place: int) -> StoredRow | None:
        stored = rows[place]
        return None if stored is None and later is form else StoredRow(later, stored)

    cache.settle_all(stored_keys, row, keep=later is form)
    return later, rows
