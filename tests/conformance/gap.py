"""What a connector doesn't do of what its suite asks, and why. Each becomes a strict xfail, and a note in the docs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar


class Kind(StrEnum):
    """Whether a gap can be closed: by us, by those who make the store, or not at all."""

    NOT_YET = "todo"
    UPSTREAM = "upstream"
    NEVER = "never"


@dataclass(frozen=True)
class Gap:
    kind: Kind
    reason: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.reason}"


class Case:
    """One connector under test: it inherits a suite, and says what of it is known to fail."""

    connector: ClassVar[str]
    #: The name of a test, or of one of its parameters (`test_name[parameter]`): why it fails here.
    gaps: ClassVar[Mapping[str, Gap]] = {}


def todo(reason: str) -> Gap:
    """It could be done here, and isn't yet."""
    return Gap(Kind.NOT_YET, reason)


def upstream(reason: str) -> Gap:
    """The store, or its driver, would have to change first."""
    return Gap(Kind.UPSTREAM, reason)


def never(reason: str) -> Gap:
    """It contradicts what this system is."""
    return Gap(Kind.NEVER, reason)


def of_values(gap: Gap, *values: str, test: str = "test_a_value_comes_back_as_it_was_sent") -> dict[str, Gap]:
    """A gap of some values, by their names in `values.VALUES`: `date: in the year 1`."""
    return {f"{test}[{value}]": gap for value in values}


def unread(gap: Gap, *values: str) -> dict[str, Gap]:
    """A gap of some values of a source."""
    return of_values(gap, *values, test="test_a_value_is_read_as_it_stands_there")
