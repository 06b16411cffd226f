"""YAML text to plain data that remembers where each key and value stood in the file.

Only the part of YAML that a declaration needs: one document of mappings, lists and scalars. Anchors, aliases, merge
keys and tags are refused, duplicate keys too, and size and depth are bounded, so that a hostile file is harmless.
Scalars are read by `scalars`. Everything that is wrong is collected; only broken syntax ends the reading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from millrace.spec.diagnostics import Diagnostic, Path, Problem, shown
from millrace.spec.positions import Places, Span, places, span_of
from millrace.spec.scalars import ScalarError, interpolate, read_plain

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_NODES = 50_000

_LINE_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_AGAIN = "\0"  # marks a duplicate key's place among a node's children; no key of a file can hold it
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SYNTAX: Mapping[str, str] = {
    "mapping values are not allowed": "unexpected ':' here: check the indentation, or put a text with ': ' in quotes",
    "expected ',' or ']'": "expected ',' or ']': this list is not closed",
    "expected ',' or '}'": "expected ',' or '}': this mapping is not closed",
    "expected '-' indicator": "expected '- ', as the lines of this list before it have: check the indentation",
    "expected <block end>": "this line is indented unlike the lines before it",
    "did not find expected key": "expected a key: check the indentation, and the quotes and brackets before it",
    "could not find expected ':'": "expected ':' after this key",
    "unexpected end of stream": "this text in quotes is not closed",
    "unknown escape character": "unknown escape in double quotes: write \\\\ for a backslash, or use single quotes",
    "node content": "expected a value here",
}


@dataclass
class Node:
    """One value of the file. `children` are a mapping's by key, or a list's by index; `key` is where its key stands."""

    span: Span
    data: Any = None
    raw: str | None = None  # a scalar's text before `${VAR}` was filled in
    interpolated: bool = False
    key: Span | None = None
    children: dict[str | int, Node] = field(default_factory=dict)


class Document:
    """A parsed file: its `data`, and the place of everything in it. `problems` are those of reading alone."""

    def __init__(self, file: str, text: str, lines: list[str], root: Node, problems: list[Problem]) -> None:
        self.file = file
        self.text = text
        self.lines = lines
        self.root = root
        self.data: Any = root.data
        self.problems = problems
        self._places: dict[int, Places | None] = {}

    def node(self, path: Path) -> tuple[Node, Path]:
        """The deepest node on `path`, and the part of the path that leads to it.

        Parts that the file doesn't have are skipped: `not_null.columns[0]` finds `not_null[0]` of the short form.
        """
        node, found = self.root, []
        for part in path:
            child = node.children.get(part)
            if child is not None:
                node = child
                found.append(part)
        return node, tuple(found)

    def raw(self, path: Path) -> str | None:
        """A scalar's text as it stands in the file, before `${VAR}` was filled in; None when it isn't a scalar."""
        return self.node(path)[0].raw

    def diagnostic(self, problem: Problem) -> Diagnostic:
        """The problem with its line and column; always a place inside the file."""
        node, path = self.node(problem.path)
        span = self._span(node, problem)
        line = min(span.line, len(self.lines) - 1)
        text = self.lines[line]
        column = min(span.column, len(text))
        path = tuple(part.split(_AGAIN)[0] if isinstance(part, str) else part for part in path)
        return Diagnostic(self.file, line + 1, column + 1, problem.message, path, text, max(1, span.length))

    def diagnostics(self, problems: list[Problem]) -> tuple[Diagnostic, ...]:
        """All problems as diagnostics, in the order of the file, each place and message once."""
        found = {(d.line, d.column, d.message): d for d in map(self.diagnostic, problems)}
        return tuple(found[place] for place in sorted(found))

    def _span(self, node: Node, problem: Problem) -> Span:
        if problem.on_key and node.key is not None:
            return node.key
        if problem.offset is not None or problem.name:
            inner = self._inner(node, problem)
            if inner is not None:
                return inner
        return node.span

    def _inner(self, node: Node, problem: Problem) -> Span | None:
        if problem.name:
            for candidate in (node, *node.children.values()):
                match = re.search(rf"(?<!\w){re.escape(problem.name)}(?!\w)", candidate.raw or "")
                if match is not None:
                    return self._inside(candidate, match.start(), len(problem.name))
            return None
        if problem.offset is None or (node.interpolated and problem.offset >= (node.raw or "").find("$")):
            return None
        return self._inside(node, problem.offset, problem.length)

    def _inside(self, node: Node, offset: int, length: int) -> Span | None:
        if id(node) not in self._places:
            self._places[id(node)] = places(self.lines, node.span, node.raw or "")
        known = self._places[id(node)]
        return None if known is None else span_of(known, offset, length)


class Unreadable(Exception):
    """The text is no YAML that can be read to its end: one diagnostic, as nothing after it is certain."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(str(diagnostic))
        self.diagnostic = diagnostic


def read_document(content: bytes | str, file: str, env: Mapping[str, str], *, typed: bool = True) -> Document:
    """Read one YAML document; `env` fills in `${VAR}`. Not `typed`: every scalar is text, such as the password 0123.

    Raises Unreadable for bytes that are not UTF-8, control characters, a file over 1 MiB, or broken syntax.
    """
    text = _decode(content, file)
    lines = _LINE_BREAK.split(text)
    forbidden = _FORBIDDEN.search(text)
    if forbidden is not None:
        raise _at_index(file, text, forbidden.start(), f"the character U+{ord(forbidden.group()):04X} is not allowed")
    reader = _Reader(env, typed)
    try:
        root = reader.document(yaml.parse(text, Loader=_LOADER))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line, mark.column) if mark else (0, 0)
        raise _at(file, lines, line, column, _syntax_message(error, lines, line, column)) from None
    except yaml.YAMLError as error:
        raise _at(file, lines, 0, 0, f"this is not YAML: {shown(str(error))}") from None
    except _Stop as stop:
        raise _at(file, lines, stop.line, stop.column, stop.message) from None
    return Document(file, text, lines, root, reader.problems)


def _decode(content: bytes | str, file: str) -> str:
    if len(content) > MAX_BYTES:
        raise Unreadable(Diagnostic(file, 1, 1, f"the file is too large: it may have {MAX_BYTES} bytes at most"))
    if isinstance(content, str):
        return content.removeprefix("\ufeff")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8-sig", errors="replace")
        bad = content[error.start]
        raise _at_index(
            file, before, len(before), f"the byte 0x{bad:02X} is not UTF-8: save the file as UTF-8"
        ) from None


def _at_index(file: str, text: str, index: int, message: str) -> Unreadable:
    before = _LINE_BREAK.split(text[:index])
    return _at(file, _LINE_BREAK.split(text), len(before) - 1, len(before[-1]), message)


def _at(file: str, lines: list[str], line: int, column: int, message: str) -> Unreadable:
    line = min(line, len(lines) - 1)
    return Unreadable(Diagnostic(file, line + 1, min(column, len(lines[line])) + 1, message, (), lines[line]))


def _syntax_message(error: yaml.MarkedYAMLError, lines: list[str], line: int, column: int) -> str:
    problem = error.problem or ""
    if "cannot start any token" in problem:
        character = lines[line][column : column + 1] if line < len(lines) else ""
        if character == "\t":
            return "a tab can't indent a line: use spaces"
        return f"a text that starts with '{character}' needs quotes"
    known = next((words for key, words in _SYNTAX.items() if key in problem), None)
    if known is None:
        return f"this is not YAML: {problem}"
    if "not closed" in known and "${" in (lines[line] if line < len(lines) else ""):
        return "between { } and [ ], a value with '${…}' needs quotes"
    opened = error.context_mark
    if opened is not None and opened.line != line and "not closed" in known:
        return f"{known} (it starts at line {opened.line + 1}, column {opened.column + 1})"
    return known


class _Stop(Exception):
    """The reading can't go on."""

    def __init__(self, mark: Any, message: str) -> None:
        super().__init__(message)
        self.line, self.column, self.message = mark.line, mark.column, message


class _Reader:
    """Builds nodes from the parser's events, without recursion deeper than MAX_DEPTH."""

    def __init__(self, env: Mapping[str, str], typed: bool) -> None:
        self.env = env
        self.typed = typed
        self.problems: list[Problem] = []
        self.nodes = 0

    def document(self, events: Iterator[Any]) -> Node:
        root: Node | None = None
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    raise _Stop(
                        event.start_mark, "a spec is one document: only one asset in a file, and no second '---'"
                    )
                root = self.value(next(events), events, ())
        return Node(Span(0, 0, 0)) if root is None else root

    def value(self, event: Any, events: Iterator[Any], path: Path) -> Node:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise _Stop(event.start_mark, f"a spec has at most {MAX_NODES} values")
        if len(path) > MAX_DEPTH:
            raise _Stop(event.start_mark, f"nested deeper than {MAX_DEPTH} levels")
        span = _span(event)
        if isinstance(event, yaml.AliasEvent):
            self.problems.append(Problem(path, "aliases (*name) are not part of a spec: write the value out"))
            return Node(span)
        if event.anchor is not None:
            self.problems.append(Problem(path, f"anchors (&{shown(event.anchor)}) are not part of a spec"))
        if event.tag is not None:
            self.problems.append(Problem(path, f"tags ({shown(event.tag)}) are not part of a spec"))
        if isinstance(event, yaml.ScalarEvent):
            return self.scalar(event, span, path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self.sequence(span, events, path)
        return self.mapping(span, events, path)

    def scalar(self, event: Any, span: Span, path: Path) -> Node:
        node = Node(span, raw=event.value, interpolated="${" in event.value)
        try:
            text = interpolate(event.value, self.env) if node.interpolated else event.value
            node.data = read_plain(text) if self.typed and event.style in (None, "") else text
        except ScalarError as error:
            self.problems.append(Problem(path, str(error), offset=error.offset, length=error.length))
            node.interpolated = False
        return node

    def sequence(self, span: Span, events: Iterator[Any], path: Path) -> Node:
        node = Node(span, data=[])
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            index = len(node.data)
            child = self.value(event, events, (*path, index))
            node.data.append(child.data)
            node.children[index] = child
        return node

    def mapping(self, span: Span, events: Iterator[Any], path: Path) -> Node:
        node = Node(span, data={})
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key_span = _span(event)
            key = self.key(event, events, path)
            first = node.children.get(key)
            name = key if first is None else f"{key}{_AGAIN}{len(node.children)}"
            child = self.value(next(events), events, (*path, name))
            child.key = key_span
            node.children[name] = child
            if first is None:
                node.data[key] = child.data
            else:
                line = first.key.line + 1 if first.key else 0
                message = f"duplicate key '{shown(key)}', first at line {line}"
                self.problems.append(Problem((*path, name), message, on_key=True))
        return node

    def key(self, event: Any, events: Iterator[Any], path: Path) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            if isinstance(event, yaml.AliasEvent):
                raise _Stop(event.start_mark, "aliases (*name) are not part of a spec")
            raise _Stop(
                event.start_mark, "a key must be a plain word; a value that starts with '{' or '[' needs quotes"
            )
        if event.anchor is not None or event.tag is not None:
            raise _Stop(event.start_mark, "anchors and tags are not part of a spec")
        key: str = event.value
        if key == "<<" and event.style in (None, ""):
            raise _Stop(event.start_mark, "merge keys (<<) are not part of a spec: write the keys out")
        return key


def _span(event: Any) -> Span:
    start, end = event.start_mark, event.end_mark
    length = end.column - start.column if end.line == start.line else 1
    style = getattr(event, "style", None) or ""
    return Span(start.line, start.column, length, (end.line, end.column), style)
