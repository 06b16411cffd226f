"""What the stores of an asset read by themselves, besides its runs, for the targets that can tell."""

from __future__ import annotations

from collections.abc import Sequence

from millrace.cli.workspace import KeptSpec
from millrace.connectors.streams import Streams
from millrace.errors import MillraceError
from millrace.jobs.context import connections_of, open_target
from millrace.spec.connector import connectors
from millrace.spec.settings import Settings

_UNKNOWN = "what its stores read by themselves is unknown"


def streams(settings: Settings, spec: KeptSpec) -> Sequence[str]:
    """A line for each, in a person's words, or why the store could not be asked."""
    if isinstance(spec, MillraceError):
        return [f"{_UNKNOWN}: {spec.message}"]
    found: list[str] = []
    try:
        for entry in spec.targets:
            role = connectors()[entry.connector].target
            if role is not None and role.streams:
                target = open_target(spec, entry.name, connections_of(settings))
                try:
                    if isinstance(target, Streams):
                        found += [f"{entry.name} {line}" for line in target.streams(spec.asset)]
                finally:
                    target.close()
    except MillraceError as error:
        found.append(f"{_UNKNOWN}: {error.message}")
    return found
