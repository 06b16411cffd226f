"""Field types and the model base that all parts of a spec share."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

from millrace.spec.diagnostics import Problem, did_you_mean, listed, shown
from millrace.spec.types import DataType, parse_type

NAME_PATTERN = "^[a-z][a-z0-9_]{0,62}$"
MAX_TEXT = 20_000
MAX_COLUMN = 255
MAX_LINE = 200
_NAME = re.compile(NAME_PATTERN.rstrip("$"), re.ASCII)
_NAME_SCHEMA = {"type": "string", "pattern": NAME_PATTERN}
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

    @property
    def chosen(self) -> list[str]:
        """The keys that the file has, in its order; `problems` tells when that isn't one."""
        return [name for name in self.model_fields_set if name not in self.beside]

    @property
    def one(self) -> str:
        return self.chosen[0]

    def problems(self) -> Iterator[Problem]:
        """What pydantic can't tell; paths are relative to this entry."""
        if not self.chosen:
            yield Problem((), f"empty {self.noun}, expected one of {listed(self.names())}")
        for name in sorted(self.chosen)[1:] if len(self.chosen) > 1 else ():
            yield Problem((name,), self.too_many(), on_key=True)

    def too_many(self) -> str:
        """The message for a second key."""
        names = " and ".join(f"'{shown(name)}'" for name in sorted(self.chosen))
        return f"one {self.noun} has {names}: make each an item of the list of its own"


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


def _check_name(text: str) -> str:
    if _NAME.fullmatch(text):
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


def _several(item: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [item, {"type": "array", "items": item, "minItems": 1, "uniqueItems": True}]})


def _as_type(value: object) -> DataType:
    if isinstance(value, DataType):
        return value
    if not isinstance(value, str):
        raise problem("expected a type such as 'bigint' or 'decimal(20,2)'")
    try:
        return parse_type(value)
    except (ValueError, RecursionError) as error:
        raise problem(str(error) if isinstance(error, ValueError) else "this type is nested too deep") from None


Name = Annotated[str, AfterValidator(_check_name), WithJsonSchema(_NAME_SCHEMA)]
"""A name of ours (asset, target, API): it becomes part of keys, tables and DAG ids, so it is kept simple."""
ColumnName = Annotated[
    str, AfterValidator(_check_column), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_COLUMN})
]
Line = Annotated[str, AfterValidator(_check_line), WithJsonSchema({"type": "string", "maxLength": MAX_LINE})]
Text = Annotated[str, Field(max_length=MAX_TEXT)]
Columns = Annotated[
    tuple[ColumnName, ...],
    BeforeValidator(_one_or_many),
    Field(min_length=1),
    AfterValidator(_distinct),
    _several({"type": "string", "minLength": 1, "maxLength": MAX_COLUMN}),
]
"""Column names: a list, or one name alone."""
Names = Annotated[
    tuple[Name, ...],
    BeforeValidator(_one_or_many),
    Field(min_length=1),
    AfterValidator(_distinct),
    _several(_NAME_SCHEMA),
]
Whole = Annotated[int, BeforeValidator(_no_bool), Field(ge=0, le=_MAX_INT)]
Positive = Annotated[int, BeforeValidator(_no_bool), Field(ge=1, le=_MAX_INT)]
Expression = Annotated[
    str,
    BeforeValidator(_as_sql),
    AfterValidator(_check_sql),
    WithJsonSchema({"type": ["string", "number", "boolean"], "maxLength": MAX_TEXT}),
]
"""A Spark SQL expression; its syntax and columns are looked at by `millrace.spec.columns`."""
TypeText = Annotated[
    DataType,
    BeforeValidator(_as_type),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "examples": ["bigint", "decimal(20,2)", "timestamp", "array<string>"]}),
]
"""A column type in its text form."""
