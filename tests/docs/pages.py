"""A page of the documentation taken apart: its fenced blocks, its links, its anchors, what it says in `code`. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^( *)(```+)(.*?)\n(.*?)^\1\2 *$\n?", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One fenced block: ```` ```kind name ````. With a name, the block is the file of that name."""

    kind: str
    name: str
    text: str
    line: int


@dataclass(frozen=True)
class Page:
    path: Path
    text: str = field(repr=False)

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def blocks(self) -> tuple[Block, ...]:
        return tuple(
            Block(*_info(m[3]), _dedented(m[4], len(m[1])), self.text.count("\n", 0, m.start()) + 1)
            for m in _FENCE.finditer(self.text)
        )

    @property
    def prose(self) -> str:
        """The page without its blocks."""
        return _FENCE.sub("\n", self.text)

    @property
    def links(self) -> tuple[str, ...]:
        return tuple(_LINK.findall(_CODE.sub("", self.prose)))

    @property
    def code(self) -> tuple[str, ...]:
        """What stands in single backquotes."""
        return tuple(_CODE.findall(self.prose))

    @property
    def anchors(self) -> frozenset[str]:
        """The names by which headings can be linked to, made as GitHub makes them."""
        return frozenset(_anchor(title) for title in _HEADING.findall(self.prose))

    def table(self, first_column: str) -> Iterator[list[str]]:
        """The rows of every table whose first column has this title, as cells."""
        inside = False
        for line in self.prose.splitlines():
            cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")] if line.startswith("|") else []
            if not cells:
                inside = False
            elif cells[0] == first_column:
                inside = True
            elif inside and not line.startswith("|--"):
                yield cells


def pages() -> tuple[Page, ...]:
    """README.md and every page under docs/."""
    paths = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return tuple(Page(path, path.read_text(encoding="utf-8")) for path in paths)


def _info(text: str) -> tuple[str, str]:
    kind, _, name = text.strip().partition(" ")
    return kind, name.strip()


def _dedented(text: str, spaces: int) -> str:
    return re.sub(rf"^ {{{spaces}}}", "", text, flags=re.MULTILINE) if spaces else text


def _anchor(title: str) -> str:
    plain = re.sub(r"[^\w\- ]", "", _LINK.sub(r"\1", title).lower())
    return plain.replace(" ", "-")
