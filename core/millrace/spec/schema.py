"""The JSON Schema of a spec, for completion and checks in editors: `millrace schema`.

It is made from the same models that read a spec, and holds the options of the connectors that are installed. It says
what a spec is after `${VAR}` was filled in, and nothing of columns and of names that refer to each other.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from millrace.spec.shape.sections import spec_shape
from millrace.spec.units import format_duration

_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
DRAFT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The schema as plain data (draft 2020-12)."""
    return {"$schema": DRAFT, "title": "millrace spec", **model_schema(spec_shape())}


def model_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of one model, such as a connector's options; defaults are as a spec would write them."""
    found: dict[str, Any] = _tidy(model.model_json_schema(by_alias=True, schema_generator=_InSpecWords))
    return found


class _InSpecWords(GenerateJsonSchema):
    def encode_default(self, dft: Any) -> Any:
        return format_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def _tidy(schema: Any) -> Any:
    """Without pydantic's made-up titles, and without defaults that say nothing in an editor.

    Bounds that pydantic leaves in its own words, behind a validator, get those of JSON Schema.
    """
    if isinstance(schema, list):
        return [_tidy(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("properties", "$defs") and isinstance(value, dict):
            found[key] = {name: _tidy(item) for name, item in value.items()}
        elif key == "examples":
            found[key] = value
        elif key in _BOUNDS:
            if isinstance(value, int | float):
                found[_BOUNDS[key]] = value
        elif (key == "title" and isinstance(value, str)) or (key == "default" and _says_nothing(value)):
            continue
        else:
            found[key] = _tidy(value)
    return found


def _says_nothing(default: Any) -> bool:
    return default is None or isinstance(default, dict | list) or default == ""
