"""What an interval of `append` held before a run replaced it: noted until the publish, and brought back without one.

Druid switches an interval's segments when a task ends, and keeps those that it has replaced, unused, until a `kill`
task deletes them. https://druid.apache.org/docs/33.0.0/api-reference/data-management-api
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import quote

from millrace.connectors.druid import pointer, tasks
from millrace.connectors.druid.layout import as_lookup, held_by
from millrace.connectors.druid.link import Link
from millrace.errors import TargetError

_SUFFIX = "~replaced"
_DATASOURCES = "/druid/coordinator/v1/datasources"
_OVERLORD = "/druid/indexer/v1/datasources"
_METADATA = "/druid/coordinator/v1/metadata/datasources"


def note(link: Link, doing: str, name: str, datasource: str, interval: str) -> None:
    """Before a version's load: which segments the interval has. What an attempt has noted already stays."""
    if link.get(doing, pointer.path(name + _SUFFIX)) is None:
        segments = json.dumps(_used(link, doing, datasource, interval))
        held = {"datasource": datasource, "interval": interval, "segments": segments}
        link.post(doing, pointer.path(name + _SUFFIX), as_lookup(held))


def settle(link: Link, doing: str, name: str) -> None:
    """The version is published: what it has replaced needn't come back."""
    pointer.delete(link, doing, name + _SUFFIX)


def bring_back(link: Link, doing: str, name: str) -> None:
    """Take away what a version that was never published has loaded, and have Druid serve what it had replaced.

    Readers may find the interval empty until Druid has loaded it again. A second call does nothing.
    """
    found = link.get(doing, pointer.path(name + _SUFFIX))
    if isinstance(found, Mapping):
        _bring_back(link, doing, name + _SUFFIX, held_by(found))


def bring_back_all(link: Link, doing: str, datasource: str) -> None:
    """The same for whatever versions of a datasource were never published: before it is loaded into again."""
    for name in link.get(doing, pointer.tier()) or ():
        if name.endswith(_SUFFIX):
            found = link.get(doing, pointer.path(name))
            held = {} if found is None else held_by(found)
            if held.get("datasource") == datasource:
                _bring_back(link, doing, name, held)


def _bring_back(link: Link, doing: str, note: str, held: Mapping[str, str]) -> None:
    datasource, interval = held["datasource"], held["interval"]
    before: list[str] = json.loads(held["segments"])
    if loaded := [segment for segment in _used(link, doing, datasource, interval) if segment not in before]:
        tasks.mark_unused(link, doing, datasource, {"segmentIds": loaded})
        if before:
            _mark_used(link, doing, datasource, before)
            tasks.wait_until_loaded(link, doing, datasource, interval)
        tasks.wait(
            lambda: not {*loaded} & _served(link, doing, datasource),
            f"{doing} in {link.endpoint}: Druid still serves what it was told to forget of '{datasource}'",
            link.endpoint.timeout_s,
        )
    pointer.delete(link, doing, note)


def _mark_used(link: Link, doing: str, datasource: str, segments: list[str]) -> None:
    """Of the overlord: Druid 33's coordinator, which passes it on, takes the overlord's answer for an error."""
    body, path = {"segmentIds": segments}, f"{quote(datasource, safe='')}/markUsed"
    try:
        link.post(doing, f"{_OVERLORD}/{path}", body)
    except TargetError:  # before Druid 33 it has no such call
        link.post(doing, f"{_DATASOURCES}/{path}", body)


def _served(link: Link, doing: str, datasource: str) -> set[str]:
    text = datasource.replace("'", "''")
    sql = f"SELECT segment_id FROM sys.segments WHERE datasource = '{text}' AND is_available = 1"
    return {row[0] for row in link.sql(doing, sql)}


def _used(link: Link, doing: str, datasource: str, interval: str) -> list[str]:
    found: list[str] = link.post(doing, f"{_METADATA}/{quote(datasource, safe='')}/segments", [interval]) or []
    return sorted(found)
