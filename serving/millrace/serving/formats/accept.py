"""Which format an `Accept` header asks for (RFC 9110, 12.5.1). Pure; each header is parsed once."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache

from millrace.serving.refusals import NotAcceptable


class Format(StrEnum):
    JSON = "json"
    PROTOBUF = "protobuf"
    MSGPACK = "msgpack"
    ARROW = "arrow"
    NDJSON = "ndjson"
    CSV = "csv"

    @property
    def content_type(self) -> str:
        return _CONTENT_TYPES[self][0]


#: The first one of each is what an answer says; the others are accepted for it.
_CONTENT_TYPES = {
    Format.JSON: ("application/json",),
    Format.PROTOBUF: ("application/x-protobuf", "application/protobuf", "application/vnd.google.protobuf"),
    Format.MSGPACK: ("application/vnd.msgpack", "application/msgpack", "application/x-msgpack"),
    Format.ARROW: ("application/vnd.apache.arrow.stream",),
    Format.NDJSON: ("application/x-ndjson", "application/jsonl"),
    Format.CSV: ("text/csv",),
}
#: What a KV API's answers can be had in; the first one when a request takes anything.
ROWS = (Format.JSON, Format.PROTOBUF, Format.MSGPACK, Format.ARROW)


@lru_cache(maxsize=512)
def negotiate(accept: str, offered: Sequence[Format] = ROWS) -> Format:
    """The offered format that `accept` likes best; the first one for "". Raises NotAcceptable naming what there is."""
    if not accept:
        return offered[0]
    ranges = [_range(part) for part in accept.split(",") if part.strip()]
    liked = [(max(_quality(ranges, name) for name in _CONTENT_TYPES[f]), -n, f) for n, f in enumerate(offered)]
    quality, _, best = max(liked, key=lambda item: item[:2])
    if quality <= 0:
        known = ", ".join(f.content_type for f in offered)
        raise NotAcceptable(f"this address has no answers of {accept[:200]}", hint=f"it has {known}")
    return best


def accepts_encoding(header: str, coding: str) -> bool:
    """Whether an `Accept-Encoding` header takes this coding by its name."""
    for part in header.lower().split(","):
        name, quality = _range(part)
        if name == coding:
            return quality > 0
    return False


def _range(part: str) -> tuple[str, float]:
    """`text/html;q=0.5` → its name and quality; a quality that is none counts as 0."""
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return name, min(max(float(parameter[2:]), 0.0), 1.0)
            except ValueError:
                return name, 0.0
    return name, 1.0


def _quality(ranges: Sequence[tuple[str, float]], name: str) -> float:
    """The quality of the most specific range that the name is in."""
    found = dict(reversed(ranges))
    for candidate in (name, name.partition("/")[0] + "/*", "*/*"):
        if candidate in found:
            return found[candidate]
    return 0.0
