"""A connection's parameters as every endpoint reads them: known names only, flags, durations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from millrace.errors import ConfigError
from millrace.spec.connection import Connection
from millrace.spec.diagnostics import did_you_mean
from millrace.spec.units import parse_duration

_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")


def known_params(
    connection: Connection, names: Sequence[str], aliases: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The parameters by their names here; an alias, Airflow's word for one, stands for a name, or for "": left out.

    Raises ConfigError for one that isn't known, with the closest name that is.
    """
    aliases = aliases or {}
    for given in connection.params:
        if given not in aliases and given not in names:
            raise ConfigError(
                f"connection {connection} has an unknown parameter '{given}'{did_you_mean(given, names)}",
                hint=f"known ones are {', '.join(names)}",
            )
    found = {aliases.get(given, given): str(value) for given, value in connection.params.items()}
    found.pop("", None)
    return found


def flag(connection: Connection, params: Mapping[str, str], name: str, default: bool = False) -> bool:
    """A parameter that is true or false. Raises ConfigError for anything else."""
    text = params.get(name, "").lower()
    if text and text not in _TRUE + _FALSE:
        raise ConfigError(f"connection {connection} has {name}={text}", hint="expected true or false")
    return text in _TRUE if text else default


def timeout_s(connection: Connection, params: Mapping[str, str], default: float, longest: float | None = None) -> float:
    """The parameter `timeout` in seconds. Raises ConfigError without a unit, and for nothing or too much."""
    if not params.get("timeout"):
        return default
    try:
        found = parse_duration(params["timeout"]).total_seconds()
    except ValueError as error:
        raise ConfigError(f"connection {connection}, timeout: {error}", hint="e.g. timeout=30s") from error
    if found <= 0:
        raise ConfigError(f"connection {connection}: the timeout must be longer than nothing", hint="e.g. timeout=30s")
    if longest is not None and found > longest:
        raise ConfigError(
            f"connection {connection} has timeout={params['timeout']}", hint=f"expected at most {longest:.0f} s"
        )
    return found
