"""Which text of which files was taken, so that the next run reads only what is new. Pure but for the texts it asks.

A file is known again by its inode, by its path or by its text alone, and each time only when the text that was taken
still stands in it: a few bytes at its start and before the place where taking stopped. So a file that was renamed,
copied and truncated, or compressed after its rotation is taken up where it was left, and a new file under an old name
is read from its start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from typing import Any, Protocol

from millrace.connectors.files import FileInfo

HEAD_BYTES = 1024
_TAIL_BYTES = 256
_FORGET_AFTER_US = 30 * 86_400_000_000


class Text(Protocol):
    """The text of one file, decompressed. Positions are bytes of text."""

    @property
    def compressed(self) -> bool: ...

    def head(self, size: int) -> bytes:
        """The first bytes; fewer when the text is shorter."""

    def before(self, at: int, size: int) -> bytes | None:
        """So many bytes before a position; None where they can't be had, empty when the text is shorter than that."""

    def last_line_end(self, start: int, size: int) -> int:
        """Where the last whole line ends of those in `[start, size)`; `start` when none does. For plain files."""


@dataclass(frozen=True)
class Entry:
    """What was taken of one file: its first `taken` bytes of text, all of it when `compressed`.

    `path`, `size`, `inode` and `modified_us` are the file's as it was last seen, at `seen_us`.
    """

    path: str
    size: int
    inode: int
    modified_us: int
    seen_us: int
    taken: int
    compressed: bool
    head: str
    head_bytes: int
    tail: str

    @property
    def file(self) -> FileInfo:
        return FileInfo(self.path, self.size, self.modified_us, self.inode)


@dataclass(frozen=True)
class Take:
    """A part of a file that is new: the text from byte `start` to `end`, or to its end when the file is compressed."""

    file: FileInfo
    start: int
    end: int


@dataclass(frozen=True)
class Manifest:
    """Everything that was taken up to some publish; a plan's watermark."""

    entries: tuple[Entry, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"files": [asdict(entry) for entry in self.entries]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any] | None) -> Manifest:
        return cls(tuple(Entry(**entry) for entry in (data or {}).get("files", ())))


@dataclass(frozen=True)
class News:
    """What a run takes, the manifest when it has, and what to tell a person."""

    takes: tuple[Take, ...]
    manifest: Manifest
    notes: tuple[str, ...]


def news(before: Manifest, files: Sequence[FileInfo], text_of: Callable[[FileInfo], Text], now_us: int) -> News:
    """What is new in these files since `before`. Files of `before` that are gone are remembered for 30 days."""
    texts = {file.path: text_of(file) for file in files}
    known = _known_again(before.entries, files, texts)
    takes: list[Take] = []
    entries: list[Entry] = []
    for file in files:
        text, entry = texts[file.path], known.get(file.path)
        take = _take(file, text, entry)
        takes += [take] if take.end > take.start else []
        entries.append(_entry(take, text, entry, now_us))
    found = {id(entry) for entry in known.values()}
    gone = [e for e in before.entries if id(e) not in found and now_us - e.seen_us < _FORGET_AFTER_US]
    return News(tuple(takes), Manifest((*entries, *gone)), tuple(_notes(takes, known, len(files))))


def _known_again(entries: Sequence[Entry], files: Sequence[FileInfo], texts: Mapping[str, Text]) -> Mapping[str, Entry]:
    """The entry of each file that has one, by the file's path. An entry belongs to one file."""
    left = {id(entry): entry for entry in entries if entry.taken}
    found: dict[str, Entry] = {}

    def claim(file: FileInfo, candidates: Iterable[Entry]) -> None:
        entry = next((e for e in candidates if id(e) in left and _stands_in(e, file, texts[file.path])), None)
        if entry is not None and file.path not in found:
            found[file.path] = left.pop(id(entry))

    by_inode = {entry.inode: entry for entry in left.values() if entry.inode}
    by_path = {entry.path: entry for entry in left.values()}
    for index, key in ((by_inode, "inode"), (by_path, "path")):
        for file in files:
            entry = index.get(getattr(file, key))
            if file.path not in found and entry is not None:
                claim(file, [entry])
    by_head = _by_head(left.values())
    for file in files:
        if file.path not in found and file.size and left:
            head = texts[file.path].head(HEAD_BYTES)
            for size in sorted(by_head, reverse=True):
                claim(file, by_head[size].get(_digest(head[:size]), ()))
    return found


def _by_head(entries: Iterable[Entry]) -> Mapping[int, Mapping[str, Sequence[Entry]]]:
    found: dict[int, dict[str, list[Entry]]] = {}
    for entry in entries:
        found.setdefault(entry.head_bytes, {}).setdefault(entry.head, []).append(entry)
    return found


def _stands_in(entry: Entry, file: FileInfo, text: Text) -> bool:
    """Whether the text that was taken is the start of this file's."""
    if replace(entry.file, path=file.path) == file and (file.inode or entry.path == file.path):
        return True
    if entry.compressed:
        same = text.compressed and file.size == entry.size
        return same and _digest(text.head(entry.head_bytes)) == entry.head
    if not text.compressed and file.size < entry.taken:
        return False
    if _digest(text.head(entry.head_bytes)) != entry.head:
        return False
    tail = text.before(entry.taken, _TAIL_BYTES)
    return tail is None or _digest(tail) == entry.tail


def _take(file: FileInfo, text: Text, entry: Entry | None) -> Take:
    """What is new in a file. A last line that isn't whole waits until the file stands still from a plan to the next."""
    start = entry.taken if entry else 0
    if text.compressed:
        done = not file.size or (entry is not None and entry.compressed)
        return Take(file, start, start if done else max(file.size, start + 1))
    if entry is not None and (entry.size, entry.modified_us) == (file.size, file.modified_us):
        return Take(file, start, file.size)
    return Take(file, start, text.last_line_end(start, file.size))


def _entry(take: Take, text: Text, before: Entry | None, now_us: int) -> Entry:
    file = take.file
    if before is not None and take.end == take.start:
        return replace(
            before, path=file.path, size=file.size, inode=file.inode, modified_us=file.modified_us, seen_us=now_us
        )
    head = text.head(HEAD_BYTES if text.compressed else min(HEAD_BYTES, take.end))
    tail = None if text.compressed else text.before(take.end, _TAIL_BYTES)
    return Entry(
        path=file.path,
        size=file.size,
        inode=file.inode,
        modified_us=file.modified_us,
        seen_us=now_us,
        taken=take.end,
        compressed=text.compressed,
        head=_digest(head),
        head_bytes=len(head),
        tail=_digest(tail or b""),
    )


def _notes(takes: Sequence[Take], known: Mapping[str, Entry], listed: int) -> Iterator[str]:
    grown = sum(take.start > 0 for take in takes)
    yield (f"{_files(listed)}: {len(takes) - grown:,} new, {grown:,} grown, {listed - len(takes):,} without new lines")
    moved = [(entry.path, path) for path, entry in known.items() if entry.path != path]
    for old, new in moved[:5]:
        yield f"{new} goes on where {old} was left"
    if len(moved) > 5:
        yield f"and {len(moved) - 5:,} more were renamed"


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=12).hexdigest()
