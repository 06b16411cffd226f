"""Gets of single keys that came at the same time, asked for at once: which of them can be, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from millrace.connectors.readers import Form, StoredReader
from millrace.serving.caches import Cache
from millrace.serving.kv.rows import StoredRow

#: One of so many keys must be kept, or all are asked for: it takes longer to leave a few out than to ask for them.
_WORTH_SPARING = 8


@dataclass(slots=True)
class Sorting:
    """Places of keys: of those to be fetched; of those that are kept, with what is kept; of those that need more care
    (what is kept is stale, somebody fetches it already, or other servers' cache is to be asked)."""

    fetched: Sequence[int]
    kept: list[tuple[int, StoredRow | None]] = field(default_factory=list)
    alone: list[int] = field(default_factory=list)


async def rows_together(
    source: StoredReader, cache: Cache, form: Form, keys: Sequence[Any], stored_keys: Sequence[bytes]
) -> tuple[Form, Sequence[Any], Sequence[int]]:
    """Rows under many keys, from a cache without L2 where it has them; and the places of those that were not kept."""
    everywhere = range(len(stored_keys))
    if cache.passed_by(stored_keys):
        return *await source.fetch_all(form, keys, stored_keys), everywhere
    entries = [*map(cache.local.entries.get, stored_keys)]
    sampled = False
    if (len(entries) - entries.count(None)) * _WORTH_SPARING < len(entries):
        sampled = cache.has_few(stored_keys)
        missing: Sequence[int] = everywhere
        later, rows = await source.fetch_all(form, keys, stored_keys)
    else:
        now = monotonic()
        missing = [p for p in everywhere if (entry := entries[p]) is None or now >= entry.soft_until]
        found = _kept_rows(entries)
        if not missing:
            return form, found, missing
        stored_keys = [stored_keys[place] for place in missing]
        later, rows = await source.fetch_all(form, [keys[place] for place in missing], stored_keys)
        if later is not form:  # a flip: what was kept is of another version
            return *await source.fetch_all(later, keys), everywhere
        for place, stored in zip(missing, rows, strict=True):
            found[place] = stored
    if later is form and (sampled or cache.looks_for_wanted()):
        fetched = rows
        cache.keep_wanted(stored_keys, lambda place: _kept(form, fetched[place]))
    return later, rows if missing is everywhere else found, missing


def _kept_rows(entries: Sequence[Any]) -> list[Any]:
    rows: list[Any] = [None] * len(entries)
    for place, entry in enumerate(entries):
        if entry is not None:
            entry.used = True
            if entry.value is not None:
                rows[place] = entry.value.stored
    return rows


def _kept(form: Form, stored: Any) -> StoredRow | None:
    return None if stored is None else StoredRow(form, stored)


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
