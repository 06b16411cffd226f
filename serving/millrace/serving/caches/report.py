"""What caches bring, by API: for people who decide what to cache, and how."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from millrace.serving.metrics import added

_OUTCOMES = ("hit", "miss", "unshared", "failed")
_SIZES = {
    "cache_shared_answers": "answers",
    "cache_shared_plain_bytes": "plain_bytes",
    "cache_shared_kept_bytes": "kept_bytes",
}


def report(dumps: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One entry an API that was called since its server started, from the numbers of all workers.

    `answers`: good ones by where they came from. `shared`, of APIs that share theirs: what happened with L2, and how
    many bytes were kept there of how many; `saved` is the part of them that compression saved.
    """
    total = added(dumps)
    found: dict[str, dict[str, Any]] = {}
    for api, _consumer, origin, code, buckets, _seconds in total["requests"]:
        if code in ("ok", "not-found", "not-modified") and origin != "none":
            answers = found.setdefault(api, {"api": api, "answers": {}})["answers"]
            answers[origin] = answers.get(origin, 0) + sum(buckets)
    for name, labels, value in total["counters"]:
        if name == "cache_shared":
            _shared(found, labels)[dict(labels)["outcome"]] = int(value)
    for name, labels, value in total["gauges"]:
        if name in _SIZES:
            _shared(found, labels)[_SIZES[name]] = int(value)
    for entry in found.values():
        shared = entry.get("shared")
        if shared is not None:
            plain = shared.get("plain_bytes", 0)
            shared["saved"] = round(1 - shared["kept_bytes"] / plain, 4) if plain else 0.0
    return [found[api] for api in sorted(found)]


def _shared(found: dict[str, dict[str, Any]], labels: Iterable[tuple[str, str]]) -> dict[str, Any]:
    api = dict(labels)["api"]
    entry = found.setdefault(api, {"api": api, "answers": {}})
    shared: dict[str, Any] = entry.setdefault("shared", dict.fromkeys(_OUTCOMES, 0))
    return shared
