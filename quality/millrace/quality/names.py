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
                plain = f"millrace_column_{number}"
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

    def in_row(self, row: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """A row under the columns' own names; its values are data, and stay."""
        return {self._own.get(key, key): value for key, value in row.items()}

    def in_value(self, value: JsonValue) -> JsonValue:
        """An observed value, such as a list of columns, with the columns' own names."""
        if isinstance(value, list | tuple):
            return [self.in_value(member) for member in value]
        return self._own.get(value, value) if isinstance(value, str) else value

    def in_text(self, text: str) -> str:
        """A message with the columns' own names."""
        if self.plain:
            own = self._own
            text = re.sub(r"\bmillrace_column_\d+_*", lambda found: own.get(found.group(), found.group()), text)
        return text

    @property
    def _own(self) -> dict[str, str]:
        return {plain: name for name, plain in self.plain.items()}
