"""How far what is published is behind its source, for the sources that can tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from millrace.catalog import AssetRecord, Catalog
from millrace.errors import MillraceError
from millrace.jobs.context import connections_of, open_source
from millrace.spec import parse_spec
from millrace.spec.connector import connectors
from millrace.spec.settings import Settings

_ASKED_AT_ONCE = 16


def lags(catalog: Catalog, settings: Settings, assets: Sequence[AssetRecord]) -> Mapping[str, Any]:
    """By asset, as JSON: `behind` and `parts`, or the `error` that kept us from asking; none for other sources."""
    names = [asset.name for asset in assets]
    watermarks = [catalog.assets.watermark(name) for name in names]
    texts = [catalog.assets.spec_text(asset.spec_digest) for asset in assets]
    with ThreadPoolExecutor(_ASKED_AT_ONCE, thread_name_prefix="millrace-lag") as pool:
        found = pool.map(partial(_lag, settings), watermarks, texts)
        return {name: lag for name, lag in zip(names, found, strict=True) if lag is not None}


def lag_text(lag: Mapping[str, Any] | None) -> str | None:
    """One word of it, for a table."""
    if lag is None:
        return None
    return f"{lag['behind']:,}" if "behind" in lag else "unknown"


def lag_words(lag: Mapping[str, Any] | None) -> str:
    """What follows the version of an asset."""
    if lag is None:
        return ""
    if "error" in lag:
        return f"; how far it is behind its source is unknown: {lag['error']}"
    return f"; {lag['behind']:,} messages behind its source"


def _lag(settings: Settings, watermark: Mapping[str, Any] | None, text: str) -> Mapping[str, Any] | None:
    try:
        spec = parse_spec(text)
        role = connectors()[spec.source.connector].source
        if role is None or not role.lag:
            return None
        lag = open_source(spec, connections_of(settings)).lag(watermark)
    except MillraceError as error:
        return {"error": error.message}
    return {"behind": lag.behind, "parts": dict(lag.parts)}
