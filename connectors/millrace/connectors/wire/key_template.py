"""Templates of keys, e.g. `{country}:{id}`: filled in for whole columns by a loader, for one key by a reader.

Both sides write values as `millrace.connectors.wire.text` says, so that a key that is asked for is byte for byte the
key that was written. With several columns, the character that ends a value is percent-encoded inside it (`a:b` →
`a%3Ab`), and so is `%`: different values never give the same key.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from millrace.connectors.wire.text import UNFIT_FOR_KEYS, text_of
from millrace.spec.types import DataType

if TYPE_CHECKING:
    import pyarrow as pa

    from millrace.connectors.wire.refusals import Encoded


@dataclass(frozen=True)
class KeyTemplate:
    """`literals[i]` stands before `names[i]`, the last literal behind the last name."""

    text: str
    literals: tuple[str, ...]
    names: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> KeyTemplate:
        """Column names in braces, with text between them; `{{` and `}}` are plain braces.

        Raises ValueError saying what is wrong with the template.
        """
        literals, names = [""], list[str]()
        for literal, name in _parts(text):
            literals[-1] += literal
            if name is None:
                continue
            if names and not _ends_a_value(literals[-1]):
                raise ValueError(
                    f"bad key template '{text}': between {{{names[-1]}}} and {{{name}}} there must be text that starts"
                    " with neither a letter, a digit, a space, - nor %, such as ':'; else two rows could share a key"
                )
            names.append(name)
            literals.append("")
        if not names:
            raise ValueError(f"bad key template '{text}': it names no column, so all rows would share a key")
        return cls(text, tuple(literals), tuple(names))

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns that make the key, each once."""
        return tuple(dict.fromkeys(self.names))

    @cached_property
    def escaped(self) -> tuple[str, ...]:
        """The characters that are percent-encoded inside values: none when there is one value only."""
        if len(self.names) == 1:
            return ()
        return ("%", *sorted({literal[0] for literal in self.literals[1:-1]}))

    def check(self, types: Mapping[str, DataType]) -> None:
        """Raises ValueError when a column is missing or of a type that can't be part of a key."""
        for name in self.columns:
            if name not in types:
                raise ValueError(
                    f"the key '{self.text}' names an unknown column '{name}'; there are {', '.join(types)}"
                )
            if types[name].kind in UNFIT_FOR_KEYS:
                raise ValueError(
                    f"the key's column '{name}' is {types[name]}, which has no single text: cast it to an integer,"
                    " a decimal or a string"
                )

    def fill(self, types: Mapping[str, DataType], values: Sequence[Any] | Mapping[str, Any]) -> bytes:
        """The key for these values, by name or in the order of `columns`; each of its type, or as text.

        Raises ValueError naming the column when a value is missing, null or not of its type.
        """
        named = values if isinstance(values, Mapping) else dict(zip(self.columns, values, strict=False))
        if len(values) != len(self.columns) or not all(name in named for name in self.columns):
            raise ValueError(
                f"the key '{self.text}' needs {', '.join(self.columns)}; got {len(values)}: {_shown(values)}"
            )
        found = self.literals[0].encode()
        for name, literal in zip(self.names, self.literals[1:], strict=True):
            try:
                part = text_of(types[name], named[name])
            except ValueError as error:
                raise ValueError(f"the key's column '{name}': {error}") from None
            found += self._escape(part) + literal.encode()
        return found

    def parts(self, key: bytes) -> dict[str, bytes]:
        """The text of each column in a key that `fill` or `render` has made. Raises ValueError for another key."""
        found: dict[str, bytes] = {}
        at = len(self.literals[0].encode())
        for index, (name, literal) in enumerate(zip(self.names, self.literals[1:], strict=True), start=1):
            after = literal.encode()
            end = len(key) - len(after) if index == len(self.names) else key.find(literal[0].encode(), at)
            if end < at or key[end : end + len(after)] != after:
                raise ValueError(f"{key!r} was not made by the key '{self.text}'")
            found[name] = self._unescape(key[at:end])
            at = end + len(after)
        return found

    def render(self, batch: pa.RecordBatch | pa.Table, types: Mapping[str, DataType] | None = None) -> Encoded:
        """The keys of a batch's rows; null, with a reason, where a part of the key is null or no value of its type.

        `types` defaults to what the batch's Arrow types say. Raises ValueError as `check` does.
        """
        from millrace.connectors.wire.text_columns import render_keys

        return render_keys(self, batch, types)

    def _unescape(self, value: bytes) -> bytes:
        return unquote_to_bytes(value) if self.escaped else value

    def _escape(self, value: bytes) -> bytes:
        for character in self.escaped:
            value = value.replace(character.encode(), percent(character))
        return value


def render_template(
    text: str, batch: pa.RecordBatch | pa.Table, types: Mapping[str, DataType] | None = None
) -> Encoded:
    """`KeyTemplate.parse(text).render(batch, types)`."""
    return KeyTemplate.parse(text).render(batch, types)


def percent(character: str) -> bytes:
    """`:` → `%3A`, by UTF-8 byte."""
    return b"".join(b"%%%02X" % byte for byte in character.encode())


def _parts(text: str) -> list[tuple[str, str | None]]:
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise ValueError(f"bad key template '{text}': {error} (a plain brace is written twice)") from None
    for _, name, spec, conversion in parts:
        if name is not None and (not name or spec or conversion):
            raise ValueError(f"bad key template '{text}': expected column names in braces, such as '{{id}}'")
    return [(literal, name) for literal, name, _, _ in parts]


def _ends_a_value(literal: str) -> bool:
    first = literal[:1]
    return bool(first) and not first.isalnum() and not first.isspace() and first not in "-%"


def _shown(values: Sequence[Any] | Mapping[str, Any]) -> str:
    return ", ".join(map(str, values)) if isinstance(values, Mapping) else ", ".join(map(repr, values))
