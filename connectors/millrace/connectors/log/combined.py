"""The combined log format of Apache httpd and nginx, by column.

    host ident user [17/May/2015:10:05:03 +0000] "GET /path HTTP/1.1" 200 203023 "referer" "agent"

Source: httpd's mod_log_config, `%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-agent}i"`. Nearly every line has six
quotes at places that tell where all fields are, so they are found by vector operations over the whole block; the
lines that are different go through the pattern below, which decides what the format is. Escapes (`\\"`, `\\x16`) stay
as they are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from millrace.connectors.log.arrays import ArrowArray, Bytes, Flags, Ints, pc, text_bounds, to_arrow_array, to_flags
from millrace.connectors.log.lines import cut
from millrace.connectors.log.options import COMBINED_COLUMNS
from millrace.connectors.log.patterns import matched_rows, whole_line
from millrace.connectors.log.typed import ParsedLines, TypedField, assemble

_QUOTED = r'(?:[^"\\]|\\.)*'
LINE = whole_line(
    r"(?P<host>\S+) (?P<ident>\S+) (?P<user>.+?) \[(?P<time>[^\]]*)\]"
    rf' "(?P<request>{_QUOTED})" (?P<status>\S+) (?P<bytes>\S+) "(?P<referer>{_QUOTED})" "(?P<agent>{_QUOTED})"'
)
HEAD = whole_line(r"(?P<host>\S+) (?P<ident>\S+) (?P<user>.+)")
REQUEST = whole_line(r"(?P<method>[!#$%&'*+.^_`|~0-9A-Za-z-]+) (?P<path>.+?)(?: (?P<protocol>HTTP/[0-9]\.[0-9]))?")

_BEFORE = ("host", "ident", "user", "time")
_AFTER = ("status", "bytes", "referer", "agent")

_QUOTE, _SPACE, _BACKSLASH = 34, 32, 92
_QUOTES = 6
_TIME_WIDTH = 26
_NOBODY = np.frombuffer(b" - -", np.uint8)
_PROTOCOL = np.frombuffer(b" HTTP/", np.uint8)
_LONGEST_METHOD = 8
_SHORTEST_HEAD = len("h - - [") + _TIME_WIDTH + len("] ")
_SHORTEST_MIDDLE = len("' 200 1 ")
_SHORTEST_LINE = _SHORTEST_HEAD + len('"G" 200 1 "" ""')


@dataclass(frozen=True)
class _Rows:
    """Texts of the fields in order, for some of a batch's lines (`lines` are their numbers)."""

    lines: Ints
    texts: list[ArrowArray]


class CombinedParser:
    """Parses the combined format; `fields` are those of `COMBINED_COLUMNS`, in that order."""

    def __init__(self, fields: Sequence[TypedField]) -> None:
        self._fields = fields

    def parse(self, lines: ArrowArray) -> ParsedLines:
        """`lines`: strings without nulls. A line in another form is dirty; an odd request line is not.

        A request that isn't `METHOD path [PROTOCOL]` stands in `path` as it is, with neither method nor protocol.
        """
        plain, odd = _plain_lines(lines)
        missed: Ints = np.zeros(0, np.int64)
        rows = plain
        if len(odd):
            by_pattern, missed = _by_pattern(lines.take(to_arrow_array(odd)), odd)
            rows = _joined(plain, by_pattern)
        dirty = [(int(line), "the line is not in the combined log format") for line in missed]
        return assemble(self._fields, rows.texts, rows.lines, dirty)


def _by_pattern(lines: ArrowArray, numbers: Ints) -> tuple[_Rows, Ints]:
    matches = pc.extract_regex(lines, LINE)
    hit, missed = matched_rows(matches)
    matches = matches.filter(matches.is_valid())
    group = {matches.type.field(i).name: matches.field(i) for i in range(matches.type.num_fields)}
    texts = [*(group[n] for n in _BEFORE), *_split_requests(group["request"]), *(group[n] for n in _AFTER)]
    return _Rows(numbers[hit], texts), numbers[missed]


def _split_requests(requests: ArrowArray) -> list[ArrowArray]:
    """Method, path and protocol of request lines; `-` is all null."""
    matches = pc.extract_regex(requests, REQUEST)
    nothing = pa.scalar(None, pa.string())
    if not len(requests):
        return [requests, requests, requests]
    method, path, protocol = (matches.field(i) for i in range(3))
    hit = matches.is_valid()
    whole = pc.if_else(pc.equal(requests, "-"), nothing, requests)
    return [
        pc.if_else(hit, method, nothing),
        pc.if_else(hit, path, whole),
        pc.if_else(pc.and_(hit, pc.not_equal(protocol, "")), protocol, nothing),
    ]


def _joined(first: _Rows, second: _Rows) -> _Rows:
    """Both one after the other: putting the few odd lines back into their places would copy all others once more."""
    texts = [pa.concat_arrays([a, b]) for a, b in zip(first.texts, second.texts, strict=True)]
    return _Rows(np.concatenate([first.lines, second.lines]), texts)


def _plain_lines(lines: ArrowArray) -> tuple[_Rows, Ints]:
    """The lines in the usual shape, taken apart by the places of their quotes; and the numbers of all others."""
    everything = np.arange(len(lines))
    bounds, data = text_bounds(lines)
    if not len(data):
        return _Rows(everything[:0], [pa.array([], pa.string())] * len(COMBINED_COLUMNS)), everything
    quotes = np.flatnonzero(data[bounds[0] : bounds[-1]] == _QUOTE) + bounds[0]
    counts = np.diff(np.searchsorted(quotes, bounds))
    six = (counts == _QUOTES) & (np.diff(bounds) >= _SHORTEST_LINE)
    places = quotes[np.repeat(six, counts)].reshape(-1, _QUOTES)
    usual = _usual_shape(data, bounds[:-1][six], bounds[1:][six], places)
    numbers, starts, places = everything[six][usual], bounds[:-1][six][usual], places[usual]
    texts = _cut(data, starts, places)
    strange = _without_host(texts[0])  # the pattern decides what such a line is
    if strange.any():
        kept = to_arrow_array(~strange)
        numbers, texts = numbers[~strange], [column.filter(kept) for column in texts]
    return _Rows(numbers, texts), np.setdiff1d(everything, numbers, assume_unique=True)


def _usual_shape(data: Bytes, starts: Ints, ends: Ints, places: Ints) -> Flags:
    """Which lines have `host ident user [time] "` before the request, and all else where the format has it."""
    opened, closed, referer, referer_end, agent, agent_end = places.T
    usual: Flags = opened - starts >= _SHORTEST_HEAD
    usual &= (referer - closed >= _SHORTEST_MIDDLE) & (agent == referer_end + 2) & (agent_end == ends - 1)
    usual &= (data[places - 1] != _BACKSLASH).all(axis=1)
    for at, byte in (
        (opened - _TIME_WIDTH - 4, _SPACE),
        (opened - _TIME_WIDTH - 3, ord("[")),
        (opened - 2, ord("]")),
        (opened - 1, _SPACE),
        (closed + 1, _SPACE),
        (closed + 5, _SPACE),
        (referer - 1, _SPACE),
        (referer_end + 1, _SPACE),
    ):
        usual &= data[np.clip(at, 0, len(data) - 1)] == byte
    return usual


def _cut(data: Bytes, starts: Ints, places: Ints) -> list[ArrowArray]:
    """The texts of all fields of lines in the usual shape."""
    opened, closed, referer, referer_end, agent, agent_end = places.T
    method_end, path_end, standard = _standard_requests(data, opened, closed)
    head_end = opened - _TIME_WIDTH - 4
    nobody = (data[head_end[:, None] - len(_NOBODY) + np.arange(len(_NOBODY))] == _NOBODY).all(axis=1)
    host_end = np.where(nobody, head_end - len(_NOBODY), head_end)
    bounds = np.column_stack(
        [
            *(starts, host_end, head_end + 2, opened - 2),
            *(opened + 1, method_end, np.minimum(method_end + 1, path_end), path_end),
            *(np.minimum(path_end + 1, closed), closed, closed + 2, closed + 5, closed + 6, referer - 1),
            *(referer + 1, referer_end, agent + 1, agent_end),
        ]
    )
    host, time, method, path, protocol, *after = cut(data, bounds, pa.string())
    head = _split_heads(host, nobody)
    request = _with_odd_requests([method, path, protocol], data, opened, closed, standard)
    return [*head, time, *request, *after]


def _standard_requests(data: Bytes, opened: Ints, closed: Ints) -> tuple[Ints, Ints, Flags]:
    """Where the method and the path end, for requests of the form `GET /path HTTP/1.1`; elsewhere all is path."""
    window = np.minimum(opened[:, None] + 1 + np.arange(_LONGEST_METHOD + 1), len(data) - 1)
    first = data[window]
    width = (first == _SPACE).argmax(axis=1)
    letters = (first >= ord("A")) & (first <= ord("Z"))
    standard: Flags = (width > 0) & (letters | (np.arange(_LONGEST_METHOD + 1) >= width[:, None])).all(axis=1)
    standard &= closed - opened > width + len(_PROTOCOL) + 4
    tail = data[np.maximum(closed[:, None] - len(_PROTOCOL) - 3 + np.arange(len(_PROTOCOL) + 3), 0)]
    standard &= (tail[:, : len(_PROTOCOL)] == _PROTOCOL).all(axis=1) & (tail[:, -2] == ord("."))
    standard &= _is_digit(tail[:, -3]) & _is_digit(tail[:, -1])
    method_end = np.where(standard, opened + 1 + width, opened + 1)
    path_end = np.where(standard, closed - len(_PROTOCOL) - 3, closed)
    return method_end, path_end, standard


def _is_digit(column: Bytes) -> Flags:
    return (column >= ord("0")) & (column <= ord("9"))


def _split_heads(heads: ArrowArray, nobody: Flags) -> list[ArrowArray]:
    """Host, ident and user, all null where they can't be told; where `nobody`, the head is the host alone."""
    nothing = pa.scalar(None, pa.string())
    unknown = pc.cast(pa.nulls(len(heads)), pa.string())
    if nobody.all():
        return [heads, unknown, unknown]
    named = to_arrow_array(~nobody)
    matches = pc.extract_regex(heads.filter(named), HEAD)
    return [
        pc.replace_with_mask(column, named, pc.if_else(matches.is_valid(), matches.field(i), nothing))
        for i, column in enumerate((heads, unknown, unknown))
    ]


def _with_odd_requests(
    parts: list[ArrowArray], data: Bytes, opened: Ints, closed: Ints, standard: Flags
) -> list[ArrowArray]:
    if standard.all():
        return parts
    odd = ~standard
    requests = cut(data, np.column_stack((opened[odd] + 1, closed[odd])), pa.string())[0]
    mask = to_arrow_array(odd)
    return [
        pc.replace_with_mask(part, mask, split) for part, split in zip(parts, _split_requests(requests), strict=True)
    ]


def _without_host(hosts: ArrowArray) -> Flags:
    return to_flags(pc.fill_null(pc.match_substring(hosts, " "), True))
