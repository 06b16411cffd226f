"""What the stores of an asset read by themselves, besides its runs, for the targets that can tell."""

from __future__ import annotations

from collections.abc import Sequence

from millrace.catalog import AssetRecord, Catalog
from millrace.errors import MillraceError
from millrace.jobs.context import connections_of, open_target
from millrace.spec import parse_spec
from millrace.spec.connector import connectors
from millrace.spec.settings import Settings


def streams(catalog: Catalog, settings: Settings, asset: AssetRecord) -> Sequence[str]:
    """A line for each, in a person's words, or why the store could not be asked."""
    found: list[str] = []
    try:
        spec = parse_spec(catalog.assets.spec_text(asset.spec_digest))
        for entry in spec.targets:
            role = connectors()[entry.connector].target
            if role is not None and role.streams:
                target = open_target(spec, entry.name, connections_of(settings))
                try:
                    found += [f"{entry.name} {line}" for line in target.streams(asset.name)]
                finally:
                    target.close()
    except MillraceError as error:
        found.append(f"what its stores read by themselves is unknown: {error.message}")
    return found
