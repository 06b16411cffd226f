"""What is known of a connector as data: its options, roles and capabilities, without importing a driver.

A connector is announced by one entry point in the group `millrace.connectors` that names a `Connector`.
Nothing outside a connector asks for its name: callers ask for a role or a capability.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pydantic import BaseModel, ConfigDict

from millrace.errors import ConfigError, NotAvailable
from millrace.spec.types import Column

ENTRY_POINT_GROUP = "millrace.connectors"


class Mode(StrEnum):
    """How a run changes its targets."""

    REPLACE = "replace"
    MERGE = "merge"
    APPEND = "append"


class Options(BaseModel):
    """Base of every connector's options: frozen, no unknown keys, each field declared once.

    A field's description, unit, default and example give parsing, JSON Schema, `--help` and the docs page.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    def known_columns(self) -> Sequence[Column | str] | None:
        """The columns that this source yields as far as the options alone tell.

        A bare string is a column whose type is known only at plan time; None: nothing is known before then.
        """
        return None

    def reads_changes_by(self) -> str | None:
        """The option that makes this source read only what is new since the last publish; None when it reads all."""
        return None

    def reads_interval(self) -> bool:
        """Whether this source reads what belongs to the run's data interval, without any `{{ ds }}` in its texts."""
        return False

    def other_connections(self) -> Sequence[str]:
        """The connections that these options name besides the one in their field `connection`."""
        return ()

    def referenced_columns(self) -> Mapping[str, Sequence[str]]:
        """Columns that these options refer to, by the option's name, e.g. `{"key": ["id"]}` of a target."""
        return {}

    def refused_in(self, mode: Mode) -> str | None:
        """Why a target with these options can't be loaded in this mode, for a person; None when it can."""
        return None


@dataclass(frozen=True)
class SourceRole:
    """A system that can be read. `implementation` ("module:Class") is None while it can't be run yet.

    `reader` ("module:Class") is its serving side, where SQL APIs can ask the source itself.
    """

    options: type[Options]
    implementation: str | None
    incremental: bool = False
    reader: str | None = None
    lag: bool = False  # whether it tells how far the published version is behind
    totals: bool = False  # whether it counts and sums what a plan says by itself, without handing over the rows
    formats: tuple[str, ...] = ()
    example: Mapping[str, Any] = field(default_factory=dict)  # what a starter spec fills in besides required options


@dataclass(frozen=True)
class TargetRole:
    """A store that can be loaded and published in. `reader` ("module:Class") is its serving side."""

    options: type[Options]
    implementation: str | None
    reader: str | None = None
    modes: frozenset[Mode] = frozenset({Mode.REPLACE})
    layouts: tuple[str, ...] = ()
    rollback: bool = True
    lookups: frozenset[str] = frozenset()  # of: get, multi_get, range, prefix, rows (all of them)
    queries: bool = False
    streams: bool = False  # whether the store can read sources by itself: its target then is a `Streams`
    example: Mapping[str, Any] = field(default_factory=dict)  # what a starter spec fills in besides required options


@dataclass(frozen=True)
class Connector:
    """One system: its name in a spec, one line about it, and the roles that it can take."""

    name: str
    summary: str
    source: SourceRole | None = None
    target: TargetRole | None = None
    schemes: tuple[str, ...] = field(default=())  # URL schemes of its connections


@cache
def connectors() -> Mapping[str, Connector]:
    """Every installed connector by name.

    Raises ConfigError when one can't be imported, or when two distributions announce the same name.
    """
    found: dict[str, Connector] = {}
    for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda p: p.name):
        connector = _load(point)
        if found.setdefault(connector.name, connector) is not connector:
            raise ConfigError(
                f"two installed distributions announce a connector '{connector.name}'",
                hint=f"uninstall one of them; the second is {point.value}",
            )
    return found


def _load(point: EntryPoint) -> Connector:
    owner = f", of {point.dist.name} {point.dist.version}" if point.dist is not None else ""
    try:
        connector = point.load()
    except Exception as error:  # third-party code: whatever it raises, the message must say whose it is
        raise ConfigError(
            f"loading the connector '{point.name}' ({point.value}{owner}): {type(error).__name__}: {error}",
            hint="repair or uninstall that distribution; every spec needs the list of connectors",
        ) from error
    if not isinstance(connector, Connector):
        raise ConfigError(
            f"the entry point '{point.name}' ({point.value}{owner}) is a {type(connector).__name__}, not a Connector",
            hint="point it at the `Connector` value of the module",
        )
    return connector


def implementation(path: str | None, what: str) -> Any:
    """Import "module:Class". Raises NotAvailable when `path` is None (`what` says what was wanted)."""
    if path is None:
        raise NotAvailable(
            f"{what} is valid in a spec, but can't be run in this release",
            hint="`millrace connectors` lists what can be run; see CHANGELOG.md for what is planned",
        )
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{what} needs the Python package '{error.name}', which is not installed",
            hint="install the extra that brings it, e.g. `pip install 'millrace[jobs]'`",
        ) from error
