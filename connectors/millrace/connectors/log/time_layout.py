"""How a time is written: a strptime-like format, compiled once into fields at known places.

Directives: %Y %m %d %H %M %S (fixed width, zero-padded), %y (two digits, 1969-2068 as POSIX has it), %b (Jan … Dec, any
case), %a (Mon … Sun, not looked at), %f (1 to 9 digits, cut to microseconds), %z (Z, +hh, +hhmm or +hh:mm), %T (for
%H:%M:%S), %%. A text that isn't written exactly so is dirty; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ISO = "iso"
EPOCHS: Mapping[str, int] = {"epoch": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1}  # µs in one unit
COMBINED_TIME = "%d/%b/%Y:%H:%M:%S %z"
ISO_DATE = "%Y-%m-%d"
ISO_TIMES = tuple(f"%Y-%m-%d{t}%H:%M:%S{f}{z}" for t in "T " for f in ("", ".%f") for z in ("%z", ""))

_WIDTHS: Mapping[str, int] = {"Y": 4, "y": 2, "m": 2, "d": 2, "H": 2, "M": 2, "S": 2, "b": 3, "a": 3}
_VARIABLE = frozenset("fz")


@dataclass(frozen=True)
class Piece:
    """A directive (one letter) or, with an empty directive, a literal text. Width 0: as long as the text allows."""

    directive: str
    literal: bytes
    width: int


@dataclass(frozen=True)
class TimeLayout:
    """A compiled format. `fixed` is the width of everything but %f and %z; `after_zone` of what follows %z."""

    text: str
    pieces: tuple[Piece, ...]
    fixed: int
    after_zone: int
    has_fraction: bool
    has_zone: bool


def compile_layout(text: str) -> TimeLayout:
    """Compile a format. Raises ValueError, naming the directives that there are, for one that can't be read."""
    pieces = tuple(_pieces(text))
    names = [p.directive for p in pieces if p.directive]
    for name in set(names):
        if names.count(name) > 1:
            raise ValueError(f"the time format '{text}' has %{name} twice")
    if "z" in names and "f" in names and names.index("f") > names.index("z"):
        raise ValueError(f"the time format '{text}' has %f after %z, which can't be read")
    has_date = {"m", "d"} <= {"m" if n == "b" else n for n in names} and bool({"Y", "y"} & set(names))
    if not has_date:
        raise ValueError(f"the time format '{text}' has no complete date: it needs %Y (or %y), %m (or %b) and %d")
    zone_at = next((i for i, p in enumerate(pieces) if p.directive == "z"), len(pieces))
    return TimeLayout(
        text=text,
        pieces=pieces,
        fixed=sum(p.width for p in pieces),
        after_zone=sum(p.width for p in pieces[zone_at + 1 :]),
        has_fraction="f" in names,
        has_zone="z" in names,
    )


def layouts_of(format_: str) -> tuple[TimeLayout, ...]:
    """The layouts to try, in order, for a field's format; `iso` stands for several. Raises ValueError."""
    return tuple(compile_layout(text) for text in (ISO_TIMES if format_ == ISO else (format_,)))


def _pieces(text: str) -> list[Piece]:
    found: list[Piece] = []
    rest = text.replace("%T", "%H:%M:%S")
    while rest:
        if rest[0] == "%":
            name = rest[1:2]
            if name == "%":
                found.append(Piece("", b"%", 1))
            elif name in _WIDTHS or (name and name in _VARIABLE):
                found.append(Piece(name, b"", _WIDTHS.get(name, 0)))
            else:
                known = " ".join(f"%{n}" for n in (*_WIDTHS, "f", "z", "T", "%"))
                raise ValueError(
                    f"unknown directive '%{name}' in the time format '{text}', expected {known}, or one of the"
                    f" formats {ISO}, {', '.join(EPOCHS)}"
                )
            rest = rest[2:]
            continue
        literal = rest.split("%", 1)[0]
        found.append(Piece("", literal.encode(), len(literal.encode())))
        rest = rest[len(literal) :]
    return found
