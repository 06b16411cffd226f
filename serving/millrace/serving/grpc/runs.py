"""How calls are carried out: by hand, in a task, or as a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any

from millrace.serving.grpc.headers import end_block
from millrace.serving.grpc.methods import Answering
from millrace.serving.grpc.statuses import Status, ending
from millrace.serving.grpc.stream import Stream


class HandRun:
    """Drives one coroutine that gives an answer's bytes, and waits for nothing but futures of this loop: no task."""

    __slots__ = ("_coroutine", "_stream")

    def __init__(self, stream: Stream, answering: Answering) -> None:
        self._stream = stream
        self._coroutine: Coroutine[Any, Any, bytes] | None = answering()
        stream.work = self
        self.step()

    def step(self, _done: asyncio.Future[Any] | None = None) -> None:
        if self._coroutine is None:
            return
        try:
            waited = self._coroutine.send(None)
        except StopIteration as stop:
            self._stream.answer(stop.value)
        except asyncio.CancelledError:
            self._stream.fail(Status.CANCELLED)
        except Exception as error:  # whatever it is, the caller gets a status, and the others are served on
            self._stream.fail(*ending(error))
        else:
            if waited is None:
                asyncio.get_running_loop().call_soon(self.step)
            else:
                waited._asyncio_future_blocking = False
                waited.add_done_callback(self.step)

    def cancel(self) -> None:
        """What the store still answers falls on deaf ears."""
        coroutine, self._coroutine = self._coroutine, None
        if coroutine is not None:
            coroutine.close()


async def unary(stream: Stream, answering: Answering) -> None:
    """Answer with one message."""
    try:
        stream.answer(await answering())
    except asyncio.CancelledError:  # by the client, or by what it asked
        stream.fail(Status.CANCELLED)
        raise
    except Exception as error:  # as in HandRun
        stream.fail(*ending(error))


async def streamed(stream: Stream, replies: AsyncGenerator[bytes, None], trailers: list[tuple[str, str]]) -> None:
    """Answer with messages as they come, no faster than the client takes them; `trailers` are read at the end."""
    try:
        async with aclosing(replies) as each:
            async for message in each:
                stream.send(message)
                await stream.writable()
        stream.end(end_block(Status.OK, "", trailers))
    except Exception as error:  # as in HandRun
        stream.fail(*ending(error))
