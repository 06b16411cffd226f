"""What a method of gRPC is to the server: how its messages come and go, and what begins it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeAlias

from millrace.serving.call import Context

Trailers: TypeAlias = list[tuple[str, str]]
Answering: TypeAlias = Callable[[], Coroutine[Any, Any, bytes]]
Begun: TypeAlias = tuple[Answering, bool]


@dataclass(frozen=True)
class Unary:
    """One message in, one out. `begin` gives what answers, and whether that may be driven by hand, without a task."""

    begin: Callable[[bytes, Context], Begun]


@dataclass(frozen=True)
class Streamed:
    """One message in, any number out. `begin` may add trailers until it ends."""

    begin: Callable[[bytes, Context, Trailers], AsyncGenerator[bytes, None]]


@dataclass(frozen=True)
class Conversation:
    """Any number in, any number out."""

    begin: Callable[[AsyncIterator[bytes]], AsyncGenerator[bytes, None]]


Method: TypeAlias = Unary | Streamed | Conversation
