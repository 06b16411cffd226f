"""Headers that come again: most clients send the same ones with each request, so a block of them is parsed once.

What is found here was parsed by the real parser when it first came, in the same place: all that stands between a plain
request line and the body. A request that differs in a single byte of it goes to the parser.
"""

from __future__ import annotations

import re
from typing import Any

_MOST_BLOCKS = 1024
_LONGEST_BLOCK = 4096
_LINE = re.compile(rb"(GET|POST) (/v1/[\w.~:%/-]+) HTTP/1\.1\r\n")
_PLAIN_KEY = re.compile(rb"[\w.~:-]+")
_END = b"\r\n\r\n"
_SPECIAL = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"trailer", b"te"})


class Headers(dict[bytes, bytes]):
    """A request's headers by their names in lower case. Not changed once they are whole: requests may share them.

    `body_bytes` is what they say of the body, `wishes` what the fast lane has read in them.
    """

    __slots__ = ("body_bytes", "wishes")

    def __init__(self) -> None:
        super().__init__()
        self.body_bytes = 0
        self.wishes: Any = None


class Repeats:
    """The blocks that one server has seen lately."""

    def __init__(self, longest_target: int) -> None:
        self._longest_target = longest_target
        self._blocks: dict[bytes, Headers] = {}

    def find(self, data: bytes) -> tuple[bytes, bytes, Headers, bytes] | None:
        """Method, target, headers and body, if this is one whole request with headers that are known."""
        line = _LINE.match(data)
        if line is None:
            return None
        method, target = line.groups()
        begin = line.end()
        end = len(data) if method == b"GET" else data.find(_END, begin) + len(_END)
        headers = self._blocks.get(data[begin:end])
        if headers is None or len(data) - end != headers.body_bytes or len(target) > self._longest_target:
            return None
        return method, target, headers, data[end:]

    def learn(self, data: bytes, headers: Headers) -> None:
        """These were the bytes of one whole request, of which the parser made these headers."""
        line, end = _LINE.match(data), data.find(_END) + len(_END)
        length = headers.get(b"content-length", b"0")
        if line is None or end - line.end() > _LONGEST_BLOCK or not _SPECIAL.isdisjoint(headers):
            return
        if headers.get(b"connection", b"keep-alive").lower() != b"keep-alive":
            return
        if not length.isdigit() or len(data) - end != int(length):
            return
        if len(self._blocks) >= _MOST_BLOCKS:
            self._blocks.clear()
        headers.body_bytes = int(length)
        self._blocks[data[line.end() : end]] = headers


def is_plain(key: bytes) -> bool:
    """Whether a key in an address stands for itself, and is one key."""
    return key.isalnum() or _PLAIN_KEY.fullmatch(key) is not None
