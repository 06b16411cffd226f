"""What targets have in common that talk to their store by one link."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

from millrace.connectors.base import Target
from millrace.errors import TargetError


class Link(Protocol):
    def close(self) -> None: ...


L = TypeVar("L", bound=Link)


class LinkedTarget(Target, Generic[L]):
    """Makes its link when it is first used, and ends it when it is closed; a closed target may be used again."""

    _made: L | None = None

    @abstractmethod
    def _connect(self) -> L:
        """A new link to the store; it need not reach it yet."""

    @property
    def _link(self) -> L:
        if self._made is None:
            self._made = self._connect()
        return self._made

    def close(self) -> None:
        if self._made is not None:
            self._made.close()
            self._made = None

    @contextmanager
    def _checking(self, options: str = "options") -> Iterator[None]:
        """Raises TargetError for what the layout refuses by a ValueError; `options`: what of the target to change."""
        try:
            yield
        except ValueError as error:
            raise TargetError(f"target {self.connection}: {error}", hint=f"change the target's {options}") from error
