"""What readers have in common that follow the pointer of one asset by themselves."""

from __future__ import annotations

import asyncio
import logging
import random
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from millrace.errors import MillraceError, NotFound, TransientError
from millrace.spec.connection import Connection

log = logging.getLogger(__name__)

#: How often one lookup may find that its version has gone meanwhile.
MOST_FLIPS = 10


class OfVersion(Protocol):
    """All that a lookup needs of one version."""

    @property
    def version(self) -> str: ...


V = TypeVar("V", bound=OfVersion)


class FollowingReader(ABC, Generic[V]):
    """Reads the pointer every `refresh_s` or so, and at once when `_moved` is set; keeps what it says in `_current`."""

    def __init__(self, connection: Connection, asset: str, refresh_s: float) -> None:
        self.asset = asset
        self._connection, self._refresh_s = connection, refresh_s
        self._current: V | None = None
        self._moved = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None

    @abstractmethod
    async def open(self) -> None: ...

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    async def _read_pointer(self) -> V | None:
        """Look the pointer up, and let `_current` be what it says."""

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def version(self) -> str:
        """The id of the version that lookups see now. Raises NotFound when there is none."""
        return self._published().version

    def _follow(self) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def _stop_following(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
            self._watcher = None

    def _published(self) -> V:
        if self._current is None:
            raise NotFound(
                f"asset {self.asset} has no published version in {self._connection}",
                hint="run its spec first; `millrace versions` lists what there is",
            )
        return self._current

    def _flapping(self) -> TransientError:
        return TransientError(
            f"asset {self.asset} was published {MOST_FLIPS} times while one lookup ran",
            hint="something publishes in a loop: see `millrace versions`",
        )

    async def _watch(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._refresh_s * random.uniform(0.8, 1.2)):
                    await self._moved.wait()
            except TimeoutError:
                pass
            self._moved.clear()
            try:
                await self._read_pointer()
            except MillraceError as error:
                log.warning("%s keeps being read at its last known version: %s", self.asset, error.message)
