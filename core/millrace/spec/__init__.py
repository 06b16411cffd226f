"""The model of a spec: the YAML that declares an asset, with everything that is checked before a run.

    from millrace.spec import load_spec
    spec = load_spec("user_profile.yaml")

Raises `millrace.errors.SpecError` with all `diagnostics` of the file. The parts are imported when they are first used,
so that a server which only needs types and connections stays small.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from millrace.spec.load import load_spec, parse_spec
    from millrace.spec.model import Spec
    from millrace.spec.schema import json_schema

__all__ = ["Spec", "json_schema", "load_spec", "parse_spec"]

_HOME = {
    "Spec": "millrace.spec.model",
    "json_schema": "millrace.spec.schema",
    "load_spec": "millrace.spec.load",
    "parse_spec": "millrace.spec.load",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
