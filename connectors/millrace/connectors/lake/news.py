"""Which files of a lake were taken, so that the next run reads those that are new. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from millrace.connectors.files import FileInfo

_FORGET_AFTER_US = 30 * 86_400_000_000


@dataclass(frozen=True)
class News:
    """The files that are new or were written anew, and the watermark when they are taken."""

    files: tuple[FileInfo, ...]
    watermark: Mapping[str, Any]
    note: str


def news(before: Mapping[str, Any] | None, files: Sequence[FileInfo], now_us: int) -> News:
    """What is new in these files. Files that are gone, or of other partitions, are remembered for 30 days."""
    known: Mapping[str, Sequence[int]] = (before or {}).get("files", {})
    fresh = [f for f in files if tuple(known.get(f.path, ())[:2]) != (f.size, f.modified_us)]
    rewritten = sum(f.path in known for f in fresh)
    kept = {path: list(entry) for path, entry in known.items() if now_us - entry[2] < _FORGET_AFTER_US}
    seen = {f.path: [f.size, f.modified_us, now_us] for f in files}
    note = f"{len(files):,} files: {len(fresh) - rewritten:,} new, {rewritten:,} written anew"
    return News(tuple(fresh), {"files": {**kept, **seen}}, note)
