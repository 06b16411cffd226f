"""A check in the spec's own words, and numbers as a person reads them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import yaml


def check_text(name: str, arguments: Any) -> str:
    """The check on one line, as YAML: `between: {column: age, min: 0, max: 150}`; a list of one as its only member."""
    if isinstance(arguments, list | tuple):
        arguments = arguments[0] if len(arguments) == 1 else list(arguments)
    return f"{name}: {flow(arguments)}"


def flow(value: Any) -> str:
    """A value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=2**31)
    return text.removesuffix("\n").removesuffix("\n...").rstrip("\n")


def share(ratio: float) -> str:
    """A ratio in percent, to two digits that say something: `0.3 %`, `20 %`, `< 0.001 %`."""
    percent = ratio * 100
    if 0 < percent < 0.001:
        return "< 0.001 %"
    if 99.95 <= percent < 100:
        return "> 99.9 %"
    return f"{Decimal(f'{percent:.2g}' if percent < 10 else f'{percent:.3g}').normalize():f} %"


def percent(ratio: float) -> str:
    """A share as a spec writes it: `20%`."""
    return f"{(Decimal(repr(ratio)) * 100).normalize():f}%"


def listed(values: Sequence[Any], at_most: int = 10) -> str:
    """`{a, b, c}`, cut off with a count."""
    more = f", … ({len(values) - at_most:,} more)" if len(values) > at_most else ""
    return "{" + ", ".join(str(v).lower() if isinstance(v, bool) else str(v) for v in values[:at_most]) + more + "}"
