"""What stores read by themselves, besides runs: it ends when the spec no longer declares it.

A target that leaves a spec, or is given other options, is known from the versions that were loaded into it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from millrace.catalog import VersionRecord
from millrace.connectors.base import Target
from millrace.connectors.streams import Streams
from millrace.errors import MillraceError, TransientError
from millrace.jobs.context import RunContext, open_recorded, open_target
from millrace.spec import Spec
from millrace.spec.connection import Connection
from millrace.spec.connector import connectors

Connections = Callable[[str], Connection]


def end_undeclared(context: RunContext) -> None:
    """End what the targets of kept versions have their stores read, and those of the spec no longer do.

    To be called before the spec's own targets are published: two names may lead to one store, and that publish puts
    back what the spec declares. What can't be ended is told, and tried again by the next publish.
    """
    for recorded in _recorded(context.catalog.versions.list(context.spec.asset, erased=False)):
        try:
            ended = end(context.spec, recorded, context.connection)
        except MillraceError as error:
            context.observer.note(f"what {recorded['connector']} reads by itself could not be ended: {error.message}")
        else:
            if ended is not None:
                context.observer.note(f"{recorded['connector']}: {ended}")


def end(spec: Spec, recorded: Mapping[str, Any], connection: Connections) -> str | None:
    """End what one target, as it was recorded, has its store read. What was ended; None when there was no such thing,
    or the spec declares it."""
    if not _reads(str(recorded["connector"])):
        return None
    with closing(open_recorded(recorded, connection)) as target:
        mine = _stream(target, spec.asset)
        if mine is None or mine in _declared(spec, connection) or not isinstance(target, Streams):
            return None
        return target.end_stream(spec.asset)


def let_go(spec: Spec, recorded: Mapping[str, Any], connection: Connections) -> None:
    """As `end`, of a target that nobody looks at again. Raises TransientError when its store is away."""
    try:
        end(spec, recorded, connection)
    except TransientError:
        raise
    except MillraceError:
        return  # such as a connection that is known no more: each publish has told it


def _recorded(versions: Sequence[VersionRecord]) -> Iterator[Mapping[str, Any]]:
    """The targets of versions, each once."""
    seen: list[Mapping[str, Any]] = []
    for recorded in (one for version in versions for one in version.targets.values()):
        if recorded not in seen:
            seen.append(recorded)
            yield recorded


def _declared(spec: Spec, connection: Connections) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for entry in spec.targets:
        if _reads(entry.connector):
            with closing(open_target(spec, entry.name, connection)) as target:
                mine = _stream(target, spec.asset)
                found |= {mine} if mine is not None else set()
    return found


def _stream(target: Target, asset: str) -> tuple[str, str] | None:
    """Where a target has its store read by itself: the connection's name, and what the store calls it."""
    name = target.stream_name(asset) if isinstance(target, Streams) else None
    return None if name is None else (target.connection.name, name)


def _reads(connector: str) -> bool:
    known = connectors().get(connector)
    return known is not None and known.target is not None and known.target.streams
