"""What most commands need first: the settings, the catalog, a spec by file or by asset name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from millrace.catalog import AssetRecord, Catalog
from millrace.connectors.base import Target
from millrace.errors import MillraceError, NotFound, SpecError
from millrace.spec import Spec, load_spec, parse_spec
from millrace.spec.settings import Settings

#: An asset's spec as the catalog has it, or why it can't be read here.
KeptSpec: TypeAlias = Spec | MillraceError


@contextmanager
def open_catalog(settings: Settings) -> Iterator[Catalog]:
    """The catalog of these settings; a new one is made where there is none yet."""
    if settings.catalog_url.startswith("sqlite"):
        settings.home.mkdir(parents=True, exist_ok=True)
    with Catalog.open(settings.catalog_url) as catalog:
        yield catalog


def find_spec(catalog: Catalog, name: str) -> Spec:
    """A spec by its file, or the last registered one of an asset.

    Raises NotFound that lists the assets of the catalog.
    """
    if name.endswith((".yaml", ".yml")) or Path(name).is_file():
        return load_spec(Path(name))
    asset = catalog.assets.find(name)
    if asset is None:
        known = ", ".join(a.name for a in catalog.assets.list()) or "none yet"
        raise NotFound(f"'{name}' is neither a spec file nor a known asset", hint=f"known assets: {known}")
    return parse_spec(catalog.assets.spec_text(asset.spec_digest), path=Path(f"{name}.yaml"))


def kept_spec(catalog: Catalog, asset: AssetRecord) -> KeptSpec:
    """The spec that an asset was registered with, or why it can't be read here and now.

    It may be of another release, or have a `${VAR}` that is not set here.
    """
    try:
        return parse_spec(catalog.assets.spec_text(asset.spec_digest))
    except SpecError as error:
        return error


def targets_of(settings: Settings, spec: Spec) -> Callable[[str], Target]:
    """How the targets of a spec are opened here, by name."""
    from millrace.jobs.context import connections_of, open_target

    return lambda name: open_target(spec, name, connections_of(settings))
