"""Bounds and members that a spec gives as YAML scalars, turned into texts that Spark casts to what a column holds.

Texts, because they stay exact on their way through Great Expectations, whose bounds are floats: an integer beyond
2**53, a decimal, or the `float` nearest to 0.1 would be another number there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, InvalidOperation, localcontext

from millrace.spec.diagnostics import shown
from millrace.spec.model import Scalar
from millrace.spec.types import DataType, Kind

INTEGRAL = frozenset({Kind.TINYINT, Kind.SMALLINT, Kind.INT, Kind.BIGINT})
NUMERIC = INTEGRAL | frozenset({Kind.FLOAT, Kind.DOUBLE, Kind.DECIMAL})
_MAX_PRECISION = 38
_BIGINT = range(-(2**63), 2**63)


@dataclass(frozen=True)
class Literals:
    """Values in the order they were given; each is `cast(text as compared_as)` in Spark SQL."""

    texts: tuple[str, ...]
    compared_as: str


def literals(values: Sequence[Scalar], type_: DataType | None) -> Literals:
    """The values as literals that compare exactly with a column of `type_` (None: a type outside our vocabulary).

    Times without a zone are in UTC. Raises ValueError, saying which value doesn't fit and how to write it.
    """
    match type_.kind if type_ else None:
        case Kind.TINYINT | Kind.SMALLINT | Kind.INT | Kind.BIGINT:
            return _integers(values)
        case Kind.FLOAT | Kind.DOUBLE as kind:
            return Literals(tuple(str(_number(value)) for value in values), kind.value)
        case Kind.DECIMAL:
            assert type_ is not None
            return _decimals([_number(value) for value in values], type_.scale)
        case Kind.STRING:
            return Literals(tuple(_text(value) for value in values), "string")
        case Kind.BOOLEAN:
            return Literals(tuple(_boolean(value) for value in values), "boolean")
        case Kind.DATE:
            return Literals(tuple(_date(value) for value in values), "date")
        case Kind.TIMESTAMP:
            return Literals(tuple(_instant(value) for value in values), "timestamp")
        case Kind.TIMESTAMP_NTZ:
            return Literals(tuple(_wall_clock(value) for value in values), "timestamp_ntz")
        case _:
            raise ValueError(f"values can't be compared with {f'type {type_}' if type_ else 'a type like that'}")


def bounds(lower: Scalar | None, upper: Scalar | None, type_: DataType | None) -> tuple[str | None, str | None, str]:
    """Both bounds as texts (None: open), and the type that they are compared as.

    A bound with more decimals than the column's values is moved inward to the next such value: that admits the same.
    Raises ValueError as `literals` does, and when the lower bound is above the upper one.
    """
    given = {name: value for name, value in (("min", lower), ("max", upper)) if value is not None}
    _check_sortable(given.values(), type_)
    keys = {name: _sort_key(name, value, type_) for name, value in given.items()}
    if len(keys) == 2 and keys["min"] > keys["max"]:  # type: ignore[operator]  # both texts or both numbers
        raise ValueError(f"min ({lower}) is above max ({upper}), so no value can pass")
    found = literals([_inward(name, value, type_) for name, value in given.items()], type_)
    texts = dict(zip(given, found.texts, strict=True))
    return texts.get("min"), texts.get("max"), found.compared_as


def _check_sortable(values: Iterable[Scalar], type_: DataType | None) -> None:
    kind = type_.kind if type_ else None
    if kind is Kind.BOOLEAN:
        raise ValueError("a boolean column has no order: use in_set")
    if kind is Kind.STRING and not all(isinstance(value, str) for value in values):
        raise ValueError(
            "the column is a string and sorts as text ('9' is above '10'): cast it to a number first, "
            "or write the bound in quotes"
        )


def _sort_key(name: str, value: Scalar, type_: DataType | None) -> Decimal | str:
    try:
        if type_ is not None and type_.kind in NUMERIC:
            return _number(value)
        return literals([value], type_).texts[0]
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _inward(name: str, value: Scalar, type_: DataType | None) -> Scalar:
    if type_ is None or type_.kind not in INTEGRAL | {Kind.DECIMAL}:
        return value
    scale = type_.scale if type_.kind is Kind.DECIMAL else 0
    return f"{_rounded(_number(value), scale, ROUND_CEILING if name == 'min' else ROUND_FLOOR):f}"


def _number(value: Scalar) -> Decimal:
    if isinstance(value, bool):
        raise ValueError(f"{str(value).lower()} is not a number")
    try:
        number = Decimal(
            repr(value) if isinstance(value, float) else value.strip() if isinstance(value, str) else value
        )
    except InvalidOperation:
        raise ValueError(f"'{shown(str(value))}' is not a number") from None
    if not number.is_finite():
        raise ValueError(f"{value} is not a finite number")
    return number


def _integers(values: Sequence[Scalar]) -> Literals:
    numbers = [_number(value) for value in values]
    for number in numbers:
        if number != number.to_integral_value():
            raise ValueError(f"{number} is not a whole number, as the column's values are")
    whole = [int(number) for number in numbers]
    if all(number in _BIGINT for number in whole):
        return Literals(tuple(str(number) for number in whole), "bigint")
    return _decimals([Decimal(number) for number in whole], 0)


def _decimals(numbers: Sequence[Decimal], scale: int) -> Literals:
    """With the column's own scale: Spark rounds when it has to widen both sides beyond 38 digits."""
    for number in numbers:
        if number != _rounded(number, scale, ROUND_FLOOR):
            raise ValueError(f"{number} has more than the {scale} decimals of the column's values")
    whole = max((number.adjusted() + 1 if number else 0 for number in numbers), default=0)
    digits = max(whole, 0) + scale
    if digits > _MAX_PRECISION:
        raise ValueError(f"a number of {digits} digits is more than the {_MAX_PRECISION} that can be compared")
    return Literals(tuple(f"{number:f}" for number in numbers), f"decimal({max(digits, 1)},{scale})")


def _rounded(number: Decimal, scale: int, rounding: str) -> Decimal:
    """The number with `scale` decimals, however long it is."""
    with localcontext() as context:
        context.prec = len(number.as_tuple().digits) + abs(number.adjusted()) + scale + 2
        return number.quantize(Decimal(1).scaleb(-scale), rounding)


def _text(value: Scalar) -> str:
    """A whole number is taken as its digits; other scalars have several spellings, so they must be quoted."""
    if isinstance(value, bool | float):
        raise ValueError(f"{str(value).lower()} is no text, as the column's values are: write it in quotes")
    return str(value)


def _boolean(value: Scalar) -> str:
    if not isinstance(value, bool):
        raise ValueError(f"'{shown(str(value))}' is neither true nor false")
    return str(value).lower()


def _date(value: Scalar) -> str:
    try:
        return date.fromisoformat(str(value).strip()).isoformat()
    except ValueError:
        raise ValueError(f"'{shown(str(value))}' is not a date: write it like 2024-01-31") from None


def _time(value: Scalar) -> datetime:
    try:
        return datetime.fromisoformat(str(value).strip())
    except ValueError:
        raise ValueError(f"'{shown(str(value))}' is not a time: write it like 2024-01-31T12:00:00Z") from None


def _instant(value: Scalar) -> str:
    time = _time(value)
    time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    return time.replace(tzinfo=None).isoformat(" ") + "+00:00"


def _wall_clock(value: Scalar) -> str:
    time = _time(value)
    if time.tzinfo is not None:
        raise ValueError(f"'{shown(str(value))}' has a zone, but the column's times have none: leave it out")
    return time.isoformat(" ")
