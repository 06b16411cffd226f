"""Data to measure and to try things on: the same for the same seed."""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

_arrow: Any = pa  # its type stubs don't take numpy arrays
_compute: Any = pyarrow.compute
_LINES_AT_ONCE = 200_000
_PAGES = (
    "",
    "about",
    "blog/2024/how-a-mill-works",
    "images/wheel.png",
    "style.css",
    "search?q=water&page=2",
    "feed.xml",
)
_SECTIONS = ("docs", "shop", "blog", "static", "api/v1", "media")
_AGENTS = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:121.0) Gecko/20100101 Firefox/121.0",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "curl/8.5.0",
    "-",
)
_REFERERS = (
    "-",
    "-",
    "https://www.example.com/",
    "https://search.example.org/?q=mill%20race",
    "android-app://com.example/",
)
_FIRST_SECOND = datetime.datetime(2024, 5, 1, tzinfo=datetime.UTC)

#: Lines that are in the combined format though they don't look like the others.
ODD_LINES: Sequence[bytes] = (
    rb'10.0.0.1 - alice [01/May/2024:10:00:00 +0200] "GET /a HTTP/2.0" 200 5 "-" "curl/8"',
    rb'10.0.0.1 - alice smith [01/May/2024:10:00:00 -0330] "GET /a HTTP/1.1" 200 5 "-" "curl/8"',
    rb'10.0.0.2 - - [01/May/2024:10:00:00 +0000] "-" 408 - "-" "-"',
    rb'10.0.0.3 - - [01/May/2024:10:00:00 +0000] "\x16\x03\x01\x02" 400 226 "-" "-"',
    rb'10.0.0.4 - - [01/May/2024:10:00:00 +0000] "GET /a b c HTTP/1.1" 200 5 "-" "x"',
    rb'10.0.0.5 - - [01/May/2024:10:00:00 +0000] "GET /old" 200 5 "-" "x"',
    rb'10.0.0.6 - - [01/May/2024:10:00:00 +0000] "GET /q?a=\"b\" HTTP/1.1" 200 5 "http://x/\"y\"" "say \"hi\""',
    rb'10.0.0.7 - - [01/May/2024:10:00:00 +0000] "PROPFIND /dav/ HTTP/1.1" 207 1 "" ""',
    '2001:db8::1 - - [01/May/2024:10:00:00 +0000] "GET /münchen/🏭 HTTP/1.1" 200 5 "-" "ü"'.encode(),
    rb'10.0.0.8 - - [01/May/2024:10:00:00 +0000] "" 400 0 "-" "-"',
)
#: Lines that are not in the combined format, or whose values are not of their types.
BAD_LINES: Sequence[bytes] = (
    b"garbage",
    rb'10.0.0.1 - - [01/May/2024:10:00:00 +0000] "GET /cut HTTP/1.1" 200 5 "-" "Mozilla/5.0 (comp',
    rb'10.0.0.1 - - [31/Apr/2024:10:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "x"',
    rb'10.0.0.1 - - [01/May/2024:25:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "x"',
    rb'10.0.0.1 - - [01/May/2024:10:00:00 +0000] "GET / HTTP/1.1" abc 5 "-" "x"',
    rb'10.0.0.1 - - [01/May/2024:10:00:00 +0000] "GET / HTTP/1.1" 200 99999999999999999999 "-" "x"',
    b'10.0.0.1 - - [01/May/2024:10:00:00 +0000] "GET /\xff\xfe HTTP/1.1" 200 5 "-" "x"',
    rb'10.0.0.1 - - [01/May/2024:10:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "x" 0.004',
)


def access_log(
    path: Path, lines: int, seed: int = 0, odd: float = 0.002, bad: float = 0.0, hosts: int | None = None
) -> int:
    """Write so many lines in the combined log format; the number of lines that are bad.

    `odd` is the share of unusual but valid lines, `bad` that of lines which no reader can take. Requests come from any
    address, or from `hosts` of them, the first ones far more often than the last.
    """
    random = np.random.default_rng(seed)
    bad_count = 0
    with path.open("wb") as file:
        for first in range(0, lines, _LINES_AT_ONCE):
            count = min(_LINES_AT_ONCE, lines - first)
            block = _usual_lines(random, first, count, hosts)
            kinds = random.random(count)
            block = _replaced(block, kinds < bad, BAD_LINES, random)
            block = _replaced(block, (kinds >= bad) & (kinds < bad + odd), ODD_LINES, random)
            bad_count += int((kinds < bad).sum())
            file.write(b"\n".join(block.to_pylist()) + b"\n")
    return bad_count


def _usual_lines(random: np.random.Generator, first: int, count: int, hosts: int | None) -> Any:
    def text(numbers: Any) -> Any:
        return _arrow.array(numbers).cast(pa.string())

    def pick(choices: Sequence[str]) -> Any:
        return _arrow.array(choices).take(_arrow.array(random.integers(0, len(choices), count)))

    join = _compute.binary_join_element_wise
    if hosts is None:
        octets = [random.integers(1, 224, count), *(random.integers(0, 256, count) for _ in range(3))]
    else:
        rank = np.minimum(random.zipf(1.3, count) - 1, hosts - 1)
        octets = [np.full(count, 10), rank >> 16, (rank >> 8) & 255, rank & 255]
    addresses = join(*map(text, octets), ".")
    seconds = _arrow.array(int(_FIRST_SECOND.timestamp()) + (first + np.arange(count)) // 50)
    times = _compute.strftime(seconds.cast(pa.timestamp("s", tz="UTC")), format="%d/%b/%Y:%H:%M:%S +0000")
    paths = join(pick(_SECTIONS), text(random.integers(0, 50_000, count)), pick(_PAGES), "/")
    requests = join(
        pick(("GET /", "GET /", "GET /", "POST /", "HEAD /")), paths, pick((" HTTP/1.1", " HTTP/1.0", " HTTP/2.0")), ""
    )
    sizes = text(random.integers(0, 300_000, count))
    statuses = pick(("200", "200", "200", "304", "404", "500"))
    line = join(
        addresses,
        " - - [",
        times,
        '] "',
        requests,
        '" ',
        statuses,
        " ",
        sizes,
        ' "',
        pick(_REFERERS),
        '" "',
        pick(_AGENTS),
        '"',
        "",
    )
    return line.cast(pa.binary())


def _replaced(block: Any, where: Any, choices: Sequence[bytes], random: np.random.Generator) -> Any:
    count = int(where.sum())
    if not count:
        return block
    picked = _arrow.array(choices, pa.binary()).take(_arrow.array(random.integers(0, len(choices), count)))
    return _compute.replace_with_mask(block, _arrow.array(where), picked)


def main() -> None:
    """`python -m benchmarks.data FILE --lines N`: write an access log."""
    parser = argparse.ArgumentParser(description="Write an access log: the same for the same seed.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--lines", type=int, required=True)
    parser.add_argument("--bad", type=float, default=0.0, help="share of lines that can't be read")
    parser.add_argument("--hosts", type=int, help="how many addresses; any by default")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    bad = access_log(given.file, given.lines, given.seed, bad=given.bad, hosts=given.hosts)
    print(f"{given.file}: {given.lines:,} lines, {bad:,} of them broken")


if __name__ == "__main__":
    main()
