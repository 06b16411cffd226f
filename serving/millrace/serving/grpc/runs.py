"""How calls are carried out: by hand, in a task, or as a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from millrace.serving.grpc.headers import END_OK, end_block
from millrace.serving.grpc.messages import LONG, framed
from millrace.serving.grpc.methods import Answering
from millrace.serving.grpc.statuses import Status, ending
from millrace.serving.grpc.stream import Stream
from millrace.serving.hand_run import HandRun


class Call(HandRun):
    """A call that is answered with one message, without a task."""

    __slots__ = ("_stream",)

    def __init__(self, stream: Stream, answering: Answering) -> None:
        super().__init__(answering())
        self._stream = stream
        stream.work = self
        self.step()

    def finish(self, value: bytes) -> None:
        self._stream.answer(value)

    def fail(self, error: Exception | asyncio.CancelledError) -> None:
        """Whatever it is, the caller gets a status, and the others are served on."""
        if isinstance(error, asyncio.CancelledError):
            self._stream.fail(Status.CANCELLED)
        else:
            self._stream.fail(*ending(error))


async def unary(stream: Stream, answering: Answering) -> None:
    """Answer with one message."""
    try:
        message = await answering()
        if stream.opening.packing:
            stream.send(await _framed(stream, message))
            stream.end(END_OK)
        else:
            stream.answer(message)
    except asyncio.CancelledError:  # by the client, or by what it asked
        stream.fail(Status.CANCELLED)
        raise
    except Exception as error:  # as in Call
        stream.fail(*ending(error))


async def streamed(stream: Stream, replies: AsyncGenerator[bytes, None], trailers: list[tuple[str, str]]) -> None:
    """Answer with messages as they come, no faster than the client takes them; `trailers` are read at the end."""
    try:
        async with aclosing(replies) as each:
            async for message in each:
                stream.send(await _framed(stream, message))
                await stream.writable()
        stream.end(end_block(Status.OK, "", trailers))
    except Exception as error:  # as in Call
        stream.fail(*ending(error))


async def _framed(stream: Stream, message: bytes) -> bytes:
    """The message as it goes out; a long one is compressed in a thread, while others are served on."""
    packing = stream.opening.packing
    if packing and len(message) > LONG:
        return await asyncio.to_thread(framed, message, packing)
    return framed(message, packing)
