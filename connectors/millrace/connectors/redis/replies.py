"""Counting the replies of a pipeline, fast where they are all alike. Pure: bytes in, counts and errors out."""

from __future__ import annotations

import hiredis

_OK = b"+OK\r\n"
_OKS = _OK * 65536


class Replies:
    """What a pipeline has been answered so far.

    `received` counts replies, `total` sums the integer ones, `errors` holds (index of the reply, text) of error replies
    not yet taken.
    """

    def __init__(self) -> None:
        self.received = 0
        self.total = 0
        self.errors: list[tuple[int, str]] = []
        self._reader = hiredis.Reader()

    def feed(self, data: bytes) -> None:
        """Count what a read brought. Raises `hiredis.ProtocolError` when it isn't the Redis protocol."""
        if not self._reader.has_data():
            data = self._skip_oks(data)
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            if isinstance(reply, hiredis.ReplyError):
                self.errors.append((self.received, str(reply)))
            elif isinstance(reply, int):
                self.total += reply
            self.received += 1

    def take_errors(self, start: int, end: int) -> list[tuple[int, str]]:
        """The errors among replies `[start, end)`, which are forgotten."""
        if not self.errors:
            return []
        taken = [(index, text) for index, text in self.errors if start <= index < end]
        self.errors = [(index, text) for index, text in self.errors if not start <= index < end]
        return taken

    def _skip_oks(self, data: bytes) -> bytes:
        """Count the OKs at the start when there is nothing else but them; what is left for the reader."""
        count = min(len(data), len(_OKS)) // len(_OK)
        size = count * len(_OK)
        if data[:size] != _OKS[:size]:
            return data
        self.received += count
        return data[size:]
