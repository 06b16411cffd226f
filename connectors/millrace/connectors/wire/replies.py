"""Replies to pipelined commands, counted as they arrive (RESP2, https://redis.io/docs/latest/develop/reference/protocol-spec/)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from millrace.errors import TargetError

_ERROR = re.compile(rb"^-([^\r]*)\r\n", re.MULTILINE)
_INTEGER = re.compile(rb"^:([+-]?[0-9]+)\r\n", re.MULTILINE)
_SHOWN_BYTES = 80


@dataclass(frozen=True)
class Failure:
    """An error reply: its 0-based index among all replies, and the server's text without the leading `-`."""

    index: int
    text: str


class ReplyCounter:
    """Counts one-line replies (`+OK`, `:3`, `-ERR …`) of a pipeline, fed in any portions.

    `count` is the number of whole replies so far, `failures` the error replies in order, `total` the sum of the
    integer replies (keys found, keys removed). Arrays and bulk strings are no replies of a load: TargetError.
    """

    def __init__(self) -> None:
        self.count = 0
        self.total = 0
        self.failures: list[Failure] = []
        self._rest = b""

    def feed(self, data: bytes) -> int:
        """Take in what was received; the number of replies that it completed."""
        data = self._rest + data if self._rest else data
        end = data.rfind(b"\n") + 1
        self._rest = data[end:]
        if not end:
            return 0
        lines = data[:end] if self._rest else data
        found = lines.count(b"\r\n")
        if lines != b"+OK\r\n" * found:
            self._read(lines, found)
        self.count += found
        return found

    def take_total(self) -> int:
        """The sum of the integer replies since the last call."""
        found, self.total = self.total, 0
        return found

    def _read(self, lines: bytes, found: int) -> None:
        starts = {kind: lines.count(b"\n" + kind) + lines.startswith(kind) for kind in (b"+", b"-", b":")}
        if sum(starts.values()) != found:
            raise TargetError(
                f"Redis answered a load with something else than statuses and integers: {lines[:_SHOWN_BYTES]!r}",
                hint="a proxy may stand between, or the connection was used for something else; see the server's log",
            )
        if starts[b":"]:
            ones = lines.count(b":1\r\n") if starts[b":"] == found else -1
            self.total += found if ones == found else sum(map(int, _INTEGER.findall(lines)))
        if starts[b"-"]:
            self._note_errors(lines)

    def _note_errors(self, lines: bytes) -> None:
        index, position = self.count, 0
        for error in _ERROR.finditer(lines):
            index += lines.count(b"\n", position, error.start())
            position = error.start()
            self.failures.append(Failure(index, error[1].decode("utf-8", "replace")))
