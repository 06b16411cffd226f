"""Compression of what L2 keeps: each answer on its own, from a size on, or against a dictionary of answers like it.

Small answers of one API are much alike, which a compressor that sees only one of them can't use. So a dictionary is
trained from a sample of them, in a thread; each value then carries the dictionary's number, and whoever doesn't have
that one yet fetches it (RFC 8878, section 5).
"""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from millrace.connectors.wire.compression import Compression as Method
from millrace.connectors.wire.compression import decompressor
from millrace.spec.shape.apis import CacheCompression

#: Before the content: how it is compressed, when it is no longer fresh (ms since 1970), its dictionary's number or 0.
_HEAD = struct.Struct(">BQI")
_ZSTD_LEVEL = 3
_GZIP_LEVEL = 4
SAMPLES = 1000
_MOST_SAMPLE_BYTES = 4 << 20
_DICTIONARY_BYTES = 32 << 10
_MOST_DICTIONARIES = 8


class _Code(StrEnum):
    """How a content is compressed: the letter that stands in its head."""

    PLAIN = "p"
    ZSTD = "z"
    DICTIONARY = "d"
    SNAPPY = "s"
    GZIP = "g"


class UnknownDictionary(LookupError):
    """A value needs a dictionary that isn't here; `number` says which."""

    def __init__(self, number: int) -> None:
        super().__init__(f"dictionary {number}")
        self.number = number


@dataclass
class Saving:
    """Bytes of the answers that were kept, before and after compression."""

    answers: int = 0
    plain_bytes: int = 0
    kept_bytes: int = 0


@dataclass
class Packer:
    """Packs one API's answers. Not for several threads, but `train` may run in another one: it touches nothing here."""

    compression: CacheCompression
    above_bytes: int
    saving: Saving = field(default_factory=Saving)
    _samples: list[bytes] = field(default_factory=list)
    _sampled: int = 0
    current: int = 0  # the number of the dictionary that is compressed with; 0 without one
    _dictionaries: dict[int, tuple[Any, Any]] = field(default_factory=dict)  # number: compressor, decompressor

    def pack(self, content: bytes, fresh_until_ms: int) -> bytes:
        """The bytes to keep."""
        code, number, data = _Code.PLAIN, 0, content
        if self.compression is CacheCompression.ZSTD_DICTIONARY:
            self._sample(content)
        if len(content) > self.above_bytes and self.compression is not CacheCompression.NONE:
            code, number, data = self._compressed(content)
            if len(data) >= len(content):
                code, number, data = _Code.PLAIN, 0, content
        self.saving.answers += 1
        self.saving.plain_bytes += len(content)
        self.saving.kept_bytes += len(data)
        return _HEAD.pack(ord(code), fresh_until_ms, number) + data

    def unpack(self, data: bytes) -> tuple[bytes, int]:
        """The content, and when it is no longer fresh. Raises ValueError for other bytes, UnknownDictionary."""
        if len(data) < _HEAD.size:
            raise ValueError("too short for a kept answer")
        letter, fresh_until_ms, number = _HEAD.unpack_from(data)
        code, content = _Code(chr(letter)), data[_HEAD.size :]
        if code is _Code.DICTIONARY:
            known = self._dictionaries.get(number)
            if known is None:
                raise UnknownDictionary(number)
            import zstandard

            try:
                return known[1].decompress(content), fresh_until_ms
            except zstandard.ZstdError as error:
                raise ValueError(f"no zstd frame of this dictionary: {error}") from error
        return (content if code is _Code.PLAIN else _OPEN[code]()(content)), fresh_until_ms

    def wants_training(self) -> bool:
        """Whether there are enough samples for a dictionary, and none yet."""
        return not self.current and len(self._samples) >= SAMPLES

    def take_samples(self) -> list[bytes]:
        """The samples, to train from; others are collected from now on, should training fail."""
        samples, self._samples, self._sampled = self._samples, [], 0
        return samples

    def use(self, number: int, dictionary: bytes, *, current: bool) -> None:
        """Know a dictionary; compress with it from now on if it is the API's current one. Raises ValueError."""
        import zstandard

        try:
            loaded = zstandard.ZstdCompressionDict(dictionary)
            pair = (
                zstandard.ZstdCompressor(level=_ZSTD_LEVEL, dict_data=loaded),
                zstandard.ZstdDecompressor(dict_data=loaded),
            )
        except zstandard.ZstdError as error:
            raise ValueError(f"no dictionary: {error}") from error
        while len(self._dictionaries) >= _MOST_DICTIONARIES:
            self._dictionaries.pop(next(n for n in self._dictionaries if n != self.current))
        self._dictionaries[number] = pair
        if current:
            self.current, self._samples = number, []

    def _compressed(self, content: bytes) -> tuple[_Code, int, bytes]:
        match self.compression:
            case CacheCompression.ZSTD_DICTIONARY if self.current:
                return _Code.DICTIONARY, self.current, self._dictionaries[self.current][0].compress(content)
            case CacheCompression.SNAPPY:
                import cramjam

                return _Code.SNAPPY, 0, bytes(cramjam.snappy.compress_raw(content))
            case CacheCompression.GZIP:
                return _Code.GZIP, 0, zlib.compress(content, _GZIP_LEVEL, 31)
            case _:
                import zstandard

                return _Code.ZSTD, 0, zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(content)

    def _sample(self, content: bytes) -> None:
        """Keep a fair sample of all answers that came (algorithm R), while there is no dictionary."""
        if self.current or len(content) > _MOST_SAMPLE_BYTES // SAMPLES:
            return
        self._sampled += 1
        if len(self._samples) < SAMPLES:
            self._samples.append(content)
        elif (place := random.randrange(self._sampled)) < SAMPLES:
            self._samples[place] = content


def train(samples: list[bytes]) -> tuple[int, bytes] | None:
    """A dictionary from samples: its number and its bytes; None when they have too little in common. Takes a while."""
    import zstandard

    size = min(_DICTIONARY_BYTES, max(1024, sum(map(len, samples)) // 10))
    try:
        found = zstandard.train_dictionary(size, [*samples])
    except zstandard.ZstdError:
        return None
    return found.dict_id(), found.as_bytes()


_OPEN: dict[_Code, Callable[[], Callable[[bytes], bytes]]] = {
    _Code.ZSTD: lambda: decompressor(Method.ZSTD),
    _Code.SNAPPY: lambda: decompressor(Method.SNAPPY),
    _Code.GZIP: lambda: decompressor(Method.GZIP),
}
