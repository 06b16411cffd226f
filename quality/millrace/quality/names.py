"""Column names as Great Expectations can take them, and back.

It passes a name to Spark as an expression, where a dot leads into a struct and a backtick quotes. So a column whose
name is more than letters, digits, spaces, `_` and `-` is checked under a plain name, and shown under its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from millrace.spec.expectations import COLUMN_ARGUMENTS
from millrace.spec.model import JsonValue

_PLAIN = re.compile(r"[\w -]+")
_COLUMN_ARGUMENTS = frozenset({*COLUMN_ARGUMENTS, "column_set"})
_EXPRESSIONS = frozenset({"row_condition", "unexpected_rows_query"})


@dataclass(frozen=True)
class PlainNames:
    """Column name → plain name, for the columns that need one."""

    plain: Mapping[str, str]

    @classmethod
    def of(cls, columns: Sequence[str]) -> PlainNames:
        """Plain names for those of `columns` that need one, different from every other column's."""
        taken = {name.lower() for name in columns}
        found: dict[str, str] = {}
        for number, name in enumerate(columns):
            if not _PLAIN.fullmatch(name):
                plain = f"column_{number}"
                while plain in taken:
                    plain += "_"
                taken.add(plain)
                found[name] = plain
        return cls(found)

    def columns(self, columns: Sequence[str]) -> list[str]:
        return [self.plain.get(name, name) for name in columns]

    def arguments(self, arguments: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """An expectation's arguments with plain names, also where an SQL text quotes a column with backticks."""
        return {key: self._argument(key, value) for key, value in arguments.items()} if self.plain else dict(arguments)

    def _argument(self, key: str, value: JsonValue) -> JsonValue:
        if key in _COLUMN_ARGUMENTS:
            if isinstance(value, list | tuple):
                return [self._argument(key, member) for member in value]
            return self.plain.get(value, value) if isinstance(value, str) else value
        if key in _EXPRESSIONS and isinstance(value, str):
            for name, plain in self.plain.items():
                value = value.replace("`" + name.replace("`", "``") + "`", f"`{plain}`")
        return value

    def restore(self, value: JsonValue) -> JsonValue:
        """The columns' own names in a result: as keys, as texts, and within an error's message."""
        if not self.plain:
            return value
        own = {plain: name for name, plain in self.plain.items()}
        pattern = re.compile(r"\b(" + "|".join(map(re.escape, own)) + r")\b")

        def restored(found: JsonValue) -> JsonValue:
            if isinstance(found, Mapping):
                return {own.get(key, key): restored(member) for key, member in found.items()}
            if isinstance(found, list | tuple):
                return [restored(member) for member in found]
            return found

        def named(found: JsonValue) -> JsonValue:
            return pattern.sub(lambda match: own[match.group()], found) if isinstance(found, str) else restored(found)

        return named(value)
