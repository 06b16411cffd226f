"""The notes of an asset in Druid's metadata store: which versions are complete, and which one is current.

Each is a lookup in a tier that no server belongs to, so that none loads it: an entry of the coordinator that is read
at once and replaced in one step. https://druid.apache.org/docs/33.0.0/api-reference/lookups-api
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from millrace.connectors.druid.layout import TIER, Marker
from millrace.connectors.druid.link import Link
from millrace.errors import TargetError, TransientError

_ATTEMPTS = 20
_CONFLICT = "can't replace existing spec"  # what the coordinator says when another write came between
_CONFIG = "/druid/coordinator/v1/lookups/config"


def path(name: str) -> str:
    """Where the coordinator tells one of the notes."""
    return f"{tier()}/{quote(name, safe='')}"


def tier() -> str:
    """Where the coordinator tells the names of all notes."""
    return f"{_CONFIG}/{TIER}"


def read(link: Link, doing: str, name: str) -> Marker | None:
    found = link.get(doing, path(name))
    return Marker.parse(found) if isinstance(found, Mapping) else None


def write(link: Link, doing: str, name: str, marker: Marker) -> None:
    """In one step, and only in the place of what was read just before. Never of what isn't ours.

    Raises TransientError when others write to it all the time.
    """
    for _ in range(_ATTEMPTS):
        before: Any = link.get(doing, path(name))
        if isinstance(before, Mapping) and before:
            _refuse_others(link, doing, name, marker, before)
        elif link.get(doing, _CONFIG) is None:
            link.post(doing, _CONFIG, {})  # the cluster's first lookup of all
        after = str(before["version"]) if before else ""
        try:
            link.post(doing, path(name), marker.lookup(after))
        except TransientError as error:
            if _CONFLICT not in error.message:
                raise
        else:
            return
    raise TransientError(f"{doing} in {link.endpoint}: somebody else moves the pointer '{name}' all the time")


def _refuse_others(link: Link, doing: str, name: str, marker: Marker, before: Mapping[str, Any]) -> None:
    known = Marker.parse(before)
    if known is None or known.asset != marker.asset:
        raise TargetError(
            f"{doing} in {link.endpoint}: the lookup '{name}' of the tier '{TIER}' "
            + (f"is of the asset '{known.asset}'" if known else "was not made by millrace"),
            hint="name another `datasource` in the target's options",
        )


def delete(link: Link, doing: str, name: str) -> None:
    """No error when there is none."""
    link.delete(doing, path(name))
