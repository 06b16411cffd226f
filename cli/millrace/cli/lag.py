"""How far what is published is behind its source, for the sources that can tell."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from millrace.catalog import Catalog
from millrace.cli.workspace import KeptSpec
from millrace.errors import MillraceError
from millrace.jobs.context import connections_of, open_source
from millrace.spec.connector import connectors
from millrace.spec.settings import Settings

_ASKED_AT_ONCE = 16


def lags(catalog: Catalog, settings: Settings, specs: Mapping[str, KeptSpec]) -> Mapping[str, Any]:
    """By asset, as JSON: `behind` and `parts`, or the `error` that kept us from asking; none for other sources."""
    watermarks = [catalog.assets.watermark(name) for name in specs]
    with ThreadPoolExecutor(_ASKED_AT_ONCE, thread_name_prefix="millrace-lag") as pool:
        found = pool.map(partial(_lag, settings), watermarks, specs.values())
        return {name: lag for name, lag in zip(specs, found, strict=True) if lag is not None}


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


def _lag(settings: Settings, watermark: Mapping[str, Any] | None, spec: KeptSpec) -> Mapping[str, Any] | None:
    if isinstance(spec, MillraceError):
        return {"error": spec.message}
    try:
        role = connectors()[spec.source.connector].source
        if role is None or not role.lag:
            return None
        lag = open_source(spec, connections_of(settings)).lag(watermark)
    except MillraceError as error:
        return {"error": error.message}
    return {"behind": lag.behind, "parts": dict(lag.parts)}
