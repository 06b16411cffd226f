"""Scalars of a spec: `${VAR}` filled in, then read by the core schema of YAML 1.2.

So `no`, `on` and `yes` are text (country codes and the key `on:` stay what they are), `12:30` is text and not 750, and
`2024-01-01` is text. A number with a leading zero, octal in YAML 1.1 and decimal in 1.2, is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_OCTAL = re.compile(r"0o[0-7]+", re.ASCII)
_HEX = re.compile(r"0x[0-9a-fA-F]+", re.ASCII)
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+", re.ASCII)
_NOT_A_NUMBER = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS: Mapping[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_VARIABLE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{", re.ASCII)
_MAX_DIGITS = 40


class ScalarError(ValueError):
    """A scalar that can't be read; `offset` and `length` say where in its text."""

    def __init__(self, message: str, offset: int = 0, length: int = 0) -> None:
        super().__init__(message)
        self.offset = offset
        self.length = length


def interpolate(text: str, env: Mapping[str, str]) -> str:
    """Fill in `${VAR}` and `${VAR:-default}` (used when VAR is unset or empty); `$${` stands for a plain `${`.

    Raises ScalarError for a variable without value and default, and for a `${` that is not closed or has no name.
    """

    def value(match: re.Match[str]) -> str:
        if match.group() == "$${":
            return "${"
        name, default = match.groups()
        if name is None:
            problem = "expected ${NAME} or ${NAME:-default} (write $${ for a plain '${')"
            raise ScalarError(problem, match.start(), 2)
        found = env.get(name) or (env.get(name) if default is None else default)
        if found is None:
            raise ScalarError(
                f"the environment variable {name} is not set and has no default (${{{name}:-default}})",
                match.start(),
                len(match.group()),
            )
        return found

    return _VARIABLE.sub(value, text)


def read_plain(text: str) -> bool | int | float | str | None:
    """The value of an unquoted scalar. Raises ScalarError for a number that is ambiguous or too long."""
    if text in _WORDS:
        return _WORDS[text]
    if not (text[0].isdigit() or text[0] in "+-."):
        return text
    if _LEADING_ZERO.fullmatch(text):
        plain = text.lstrip("+-0") or "0"
        raise ScalarError(f"a number can't start with 0: write '{text}' in quotes as text, or {plain}", 0, len(text))
    if _NOT_A_NUMBER.fullmatch(text):
        raise ScalarError(f"'{text}' can't be used here: infinity and NaN are no values of a spec", 0, len(text))
    number = _number(text)
    return text if number is None else number


def _number(text: str) -> int | float | None:
    form = next((f for f in (_INTEGER, _OCTAL, _HEX, _FLOAT) if f.fullmatch(text)), None)
    if form is None:
        return None
    if len(text) > _MAX_DIGITS:
        raise ScalarError(f"this number has more than {_MAX_DIGITS} digits", 0, len(text))
    if form is _FLOAT:
        value = float(text)
        if value in (float("inf"), float("-inf")):
            raise ScalarError(f"the number {text} is too large", 0, len(text))
        return value
    return int(text, {_OCTAL: 8, _HEX: 16}.get(form, 10))
