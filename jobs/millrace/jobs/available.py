"""What this release can run: the rest of a valid spec is refused plainly before anything is started."""

from __future__ import annotations

import importlib.util

from millrace.errors import ConfigError, NotAvailable
from millrace.spec import Spec
from millrace.spec.connector import connectors, implementation


def refuse_what_cannot_run(spec: Spec) -> None:
    """Raise NotAvailable for a connector or a mode of the spec that can't be run, ConfigError for a missing extra."""
    if spec.checks and importlib.util.find_spec("great_expectations") is None:
        raise ConfigError(
            f"{spec.asset} has checks, and Great Expectations is not installed",
            hint="install it with `pip install 'millrace[quality]'`",
        )
    source = connectors()[spec.source.connector].source
    implementation(source.implementation if source else None, f"the source '{spec.source.connector}'")
    for entry in spec.targets:
        role = connectors()[entry.connector].target
        implementation(role.implementation if role else None, f"the target '{entry.connector}'")
        if role is not None and spec.mode not in role.modes:
            modes = ", ".join(sorted(role.modes))
            raise NotAvailable(
                f"mode '{spec.mode}' can't be run on target '{entry.name}' in this release",
                hint=f"{entry.connector} can: {modes}",
            )
