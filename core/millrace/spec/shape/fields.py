"""Field types and the model base that all parts of a spec share."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from millrace.spec.diagnostics import Problem, closest, did_you_mean, listed, shown
from millrace.spec.types import DataType, Kind, parse_type

NAME_PATTERN = "^[a-z][a-z0-9_]{0,62}$"
MAX_TEXT = 20_000
MAX_COLUMN = 255
MAX_LINE = 200
_NAME = re.compile(NAME_PATTERN.rstrip("$"), re.ASCII)
_NAME_SCHEMA = {"type": "string", "pattern": NAME_PATTERN, "x-type": "name"}
_COLUMN_SCHEMA = {"type": "string", "minLength": 1, "maxLength": MAX_COLUMN, "x-type": "column"}
_MAX_INT = (1 << 63) - 1


class Part(BaseModel):
    """Base of every part of a spec: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Choice(Part):
    """A mapping with exactly one of its keys; those in `beside` may stand next to it."""

    noun: ClassVar[str] = "entry"
    beside: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def names(cls) -> list[str]:
        """The keys of which one is chosen."""
        return [name for name in cls.model_fields if name not in cls.beside]

    @classmethod
    def unknown(cls, key: str) -> str:
        """The message for a key that isn't among them."""
        return f"unknown {cls.noun} '{shown(key)}'{did_you_mean(key, [*cls.names(), *cls.beside])}"

    @classmethod
    def problems(cls, data: Mapping[str, Any]) -> Iterator[Problem]:
        """What is wrong with the choice as such, in the file's own data; paths are relative to this entry."""
        chosen = [name for name in data if name in cls.names()]
        if not chosen and all(name in cls.beside for name in data):
            yield Problem((), f"empty {cls.noun}, expected one of {listed(cls.names())}", on_key=True)
        for name in chosen[1:]:
            yield Problem((name,), cls.too_many(chosen), on_key=True)

    @classmethod
    def too_many(cls, chosen: list[str]) -> str:
        """The message for a second key."""
        names = " and ".join(f"'{shown(name)}'" for name in chosen)
        return f"one {cls.noun} has {names}: make each an item of the list of its own"

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Exactly one of the keys, in JSON Schema's words."""
        found = handler.resolve_ref_schema(handler(core_schema))
        if cls.beside:
            found["oneOf"] = [{"required": [name]} for name in cls.names()]
        else:
            found |= {"minProperties": 1, "maxProperties": 1}
        return found

    @property
    def one(self) -> str:
        """The key that was chosen."""
        return next(name for name in self.model_fields_set if name not in self.beside)


def optional(description: str, *examples: Any) -> Any:
    """One key of a `Choice`: absent unless the file has it, and never null."""
    return Field(default_factory=_absent, description=description, examples=list(examples))


def _absent() -> None:
    return None


def problem(message: str) -> PydanticCustomError:
    """An error in our own words, from inside a validator."""
    return PydanticCustomError("millrace", "{reason}", {"reason": message})


def as_name(text: str) -> str:
    """The nearest valid name to a text; empty when there is none."""
    return re.sub(r"[^a-z0-9_]+", "_", text.lower()).strip("_").lstrip("0123456789_")[:63]


def is_name(text: str) -> bool:
    """Whether a text can be the name of an asset, a target or an API."""
    return _NAME.fullmatch(text) is not None


def _check_name(text: str) -> str:
    if is_name(text):
        return text
    near = as_name(text)
    meant = f", did you mean '{near}'?" if near else ""
    raise problem(f"a name has lower-case letters, digits and _, starts with a letter, and has at most 63{meant}")


def _check_column(text: str) -> str:
    if not text or len(text) > MAX_COLUMN or not text.isprintable() or "`" in text:
        raise problem(f"a column name has 1 to {MAX_COLUMN} printable characters, and no backtick")
    return text


def _check_line(text: str) -> str:
    if len(text) > MAX_LINE or not text.isprintable():
        raise problem(f"expected one line of at most {MAX_LINE} printable characters")
    return text


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise problem(f"'{value}' stands here twice")
        seen.add(value)
    return values


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticCustomError("int_type", "expected a whole number")
    return value


def _as_sql(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


def _check_sql(text: str) -> str:
    if not text.strip():
        raise problem("expected an SQL expression, got an empty text")
    if len(text) > MAX_TEXT:
        raise problem(f"an SQL text has at most {MAX_TEXT} characters")
    return text


def _several(item: dict[str, Any]) -> dict[str, Any]:
    many = {"type": "array", "items": item, "minItems": 1, "uniqueItems": True}
    return {"anyOf": [item, many], "x-type": f"one {item['x-type']} or a list"}


def _as_type(value: object) -> DataType:
    if isinstance(value, DataType):
        return value
    if not isinstance(value, str):
        raise problem("expected a type such as 'bigint' or 'decimal(20,2)'")
    try:
        return parse_type(value)
    except ValueError as error:
        near = closest(value, Kind) if value.isidentifier() else None
        raise problem(f"unknown type '{value}', did you mean '{near}'?" if near else str(error)) from None
    except RecursionError:
        raise problem("this type is nested too deep") from None


Name = Annotated[str, AfterValidator(_check_name), WithJsonSchema(_NAME_SCHEMA)]
"""A name of ours (asset, target, API): it becomes part of keys, tables and DAG ids, so it is kept simple."""
ColumnName = Annotated[str, AfterValidator(_check_column), WithJsonSchema(_COLUMN_SCHEMA)]
Line = Annotated[str, AfterValidator(_check_line), WithJsonSchema({"type": "string", "maxLength": MAX_LINE})]
Text = Annotated[str, Field(max_length=MAX_TEXT)]
COLUMNS_SCHEMA = _several(_COLUMN_SCHEMA)
Columns = Annotated[
    tuple[ColumnName, ...],
    BeforeValidator(_one_or_many),
    Field(min_length=1),
    AfterValidator(_distinct),
    WithJsonSchema(COLUMNS_SCHEMA),
]
"""Column names: a list, or one name alone."""
Names = Annotated[
    tuple[Name, ...],
    BeforeValidator(_one_or_many),
    Field(min_length=1),
    AfterValidator(_distinct),
    WithJsonSchema(_several(_NAME_SCHEMA)),
]
Whole = Annotated[int, BeforeValidator(_no_bool), Field(ge=0, le=_MAX_INT)]
Positive = Annotated[int, BeforeValidator(_no_bool), Field(ge=1, le=_MAX_INT)]
Expression = Annotated[
    str,
    BeforeValidator(_as_sql),
    AfterValidator(_check_sql),
    WithJsonSchema({"type": ["string", "number", "boolean"], "maxLength": MAX_TEXT, "x-type": "SQL"}),
]
"""A Spark SQL expression; its syntax and columns are looked at by `millrace.spec.columns`."""
TypeText = Annotated[
    DataType,
    BeforeValidator(_as_type),
    PlainSerializer(str),
    WithJsonSchema(
        {
            "type": "string",
            "examples": ["bigint", "decimal(20,2)", "array<string>"],
            "x-type": "column type",
        }
    ),
]
"""A column type in its text form."""
