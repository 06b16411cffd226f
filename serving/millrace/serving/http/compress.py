"""Compression of answers: gzip or zstd, as the client accepts, from a size on that makes it worth the time."""

from __future__ import annotations

import zlib
from dataclasses import replace
from functools import lru_cache

from millrace.serving.formats.accept import accepts_encoding
from millrace.serving.http.messages import Response

SMALLEST = 1024
_GZIP_LEVEL = 4
_ZSTD_LEVEL = 3


@lru_cache(maxsize=512)
def coding_of(accept_encoding: str) -> str:
    """The coding for a client: zstd before gzip, "" for neither."""
    return next((coding for coding in ("zstd", "gzip") if accepts_encoding(accept_encoding, coding)), "")


def compressed(response: Response, accept_encoding: str) -> Response:
    """The response with its body compressed, when it is large enough and the client takes a coding that we have."""
    body = response.body
    if not isinstance(body, bytes) or len(body) < SMALLEST or not accept_encoding:
        return response
    if any(name == b"content-encoding" for name, _ in response.headers):
        return response
    coding = coding_of(accept_encoding)
    if not coding:
        return response
    headers = (*response.headers, (b"content-encoding", coding.encode()), (b"vary", b"accept-encoding"))
    return replace(response, body=pack(body, coding), headers=headers)


def pack(body: bytes, coding: str) -> bytes:
    """A body in one coding."""
    if coding == "zstd":
        import zstandard

        packed: bytes = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(body)
        return packed
    return zlib.compress(body, _GZIP_LEVEL, 31)
