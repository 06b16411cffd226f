"""What steps did and do, in words: the lines that a terminal, a log and a task's log show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def size_text(size: float) -> str:
    """Bytes for a person: 1536 → "1.5 KiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def count_text(number: int, noun: str) -> str:
    """A number with its noun: "1 split", "2 splits"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def finished_line(step: str, stats: Mapping[str, Any]) -> str:
    """One line about a step that is done."""
    return f"✓ {step:<18} {stats.get('seconds', 0.0):7.2f} s  {_summary(step, stats)}".rstrip()


def running_line(step: str, seconds: float, rows: int, size: int, expected: int | None) -> str:
    """One line about a step under way; `expected` are the rows it will have, if that is known."""
    if not rows:
        return f"… {step:<18} {seconds:7.1f} s"
    share = f" of about {expected:,} ({min(rows / expected, 1):.0%})" if expected else ""
    return f"… {step:<18} {seconds:7.1f} s  {rows:,} rows{share}, {rows / seconds:,.0f} rows/s, {size_text(size)}"


def _summary(step: str, stats: Mapping[str, Any]) -> str:
    kind = step.split(":", maxsplit=1)[0]
    match kind:
        case "plan":
            rows = stats.get("estimated_rows")
            about = f"about {count_text(rows, 'row')}" if rows is not None else "rows not known"
            return f"{count_text(stats['splits'], 'split')}, {about}"
        case "stage":
            return (
                f"{stats['rows_read']:,} read, {stats['rows_filtered']:,} filtered, {stats['rows_dirty']:,} dirty, "
                f"{stats['rows_staged']:,} staged ({size_text(stats['bytes_staged'])})"
            )
        case "check":
            warned = f", {stats['warned']} warned" if stats["warned"] else ""
            aside = f", {count_text(stats['quarantined'], 'row')} set aside" if stats.get("quarantined") else ""
            if not stats["checks"]:
                return "the spec has no checks"
            return f"{stats['passed']} of {stats['checks']} passed{warned}{aside}"
        case "load":
            older = f", {stats['rows_superseded']:,} superseded" if stats.get("rows_superseded") else ""
            sent = f"{stats['rows_loaded']:,} rows, {size_text(stats['bytes_loaded'])}"
            return f"{sent}, {stats['rows_dirty']:,} dirty{older}"
        case "verify":
            return f"{stats['rows_found']:,} rows found, {stats['rows_sampled']} compared"
        case "publish":
            return f"version {stats['version']} is current"
        case _:
            return f"erased {', '.join(stats['retired'])}" if stats.get("retired") else ""
