"""How connections of TLS end: who has all that was sent need not say goodbye."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import termios


def part(transport: asyncio.Transport) -> None:
    """End a connection that is being closed if its client has all that was sent: idle ones never say TLS's goodbye.

    Looked at in the loop's next turn, when what was written in this one has left the process, or filled the socket.
    """
    if transport.is_closing() and transport.get_extra_info("sslcontext") is not None:
        asyncio.get_running_loop().call_soon(_end_if_taken, transport)


def _end_if_taken(transport: asyncio.Transport) -> None:
    link = transport.get_extra_info("socket")
    if link is None:  # it has ended
        return
    with contextlib.suppress(OSError):  # of a system that doesn't tell: then it is not cut short
        on_the_way = fcntl.ioctl(link.fileno(), termios.TIOCOUTQ, bytes(4))  # not confirmed by the other machine
        if not any(on_the_way):
            transport.abort()
