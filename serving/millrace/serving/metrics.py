"""What is counted, cheaply enough for the hot path: one dictionary lookup, one bisection and three additions a request.

Each worker keeps its own numbers; `http.metrics_page` merges them. Names and labels are Prometheus': every series is
`millrace_…`, times are seconds.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

#: Upper bounds of the latency histogram, in seconds.
BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

_HELP = {
    "request": "Time of calls of APIs, by where the answer came from and how they ended.",
    "store": "Time of what a store was asked, by its connection and whether it answered.",
}

Labels: TypeAlias = tuple[tuple[str, str], ...]


class Histogram:
    """Counts by bucket (the last one is +Inf), and their sum."""

    __slots__ = ("buckets", "sum")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.buckets[bisect_left(BOUNDS, value)] += 1
        self.sum += value


class Metrics:
    """The numbers of one process. Not for several threads."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, str, str, str], Histogram] = {}
        self._histograms: dict[tuple[str, Labels], Histogram] = {}
        self._counters: dict[tuple[str, Labels], float] = {}
        self._gauges: dict[tuple[str, Labels], Callable[[], float]] = {}

    def request(self, api: str, consumer: str, origin: str, code: str, seconds: float, requests: int = 1) -> None:
        """Calls of an API have ended: by whom, from where (`store`, `l1`, …), how (`ok`, a problem's slug).

        Several that began and ended together are told at once; each took `seconds`.
        """
        found = self._requests.get((api, consumer, origin, code))
        if found is None:
            found = self._requests[api, consumer, origin, code] = Histogram()
        found.buckets[bisect_left(BOUNDS, seconds)] += requests
        found.sum += seconds * requests

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to the counter `millrace_<name>_total`."""
        key = (name, tuple(sorted(labels.items())))
        self._counters[key] = self._counters.get(key, 0) + amount

    def histogram(self, name: str, **labels: str) -> Histogram:
        """The histogram `millrace_<name>_seconds`, for who keeps it at hand and observes often."""
        return self._histograms.setdefault((name, tuple(sorted(labels.items()))), Histogram())

    def gauge(self, name: str, read: Callable[[], float], **labels: str) -> None:
        """A number that is asked for when the page is: `millrace_<name>`."""
        self._gauges[name, tuple(sorted(labels.items()))] = read

    def forget_gauge(self, name: str, **labels: str) -> None:
        self._gauges.pop((name, tuple(sorted(labels.items()))), None)

    def dump(self) -> dict[str, Any]:
        """All numbers as JSON, for `merged`."""
        return {
            "requests": [[*key, found.buckets, found.sum] for key, found in self._requests.items()],
            "histograms": [[name, labels, h.buckets, h.sum] for (name, labels), h in self._histograms.items()],
            "counters": [[name, labels, value] for (name, labels), value in self._counters.items()],
            "gauges": [[name, labels, read()] for (name, labels), read in self._gauges.items()],
        }


def added(dumps: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Several processes' numbers as those of one: counters, histograms and gauges are added up."""
    requests: dict[tuple[str, ...], tuple[list[int], float]] = {}
    histograms: dict[tuple[str, Labels], tuple[list[int], float]] = {}
    numbers: dict[str, dict[tuple[str, Labels], float]] = {"counters": {}, "gauges": {}}
    for dump in dumps:
        for *key, buckets, total in dump["requests"]:
            requests[tuple(key)] = _sum(requests.get(tuple(key)), buckets, total)
        for name, labels, buckets, total in dump["histograms"]:
            place = (name, tuple((k, v) for k, v in labels))
            histograms[place] = _sum(histograms.get(place), buckets, total)
        for kind, found in numbers.items():
            for name, labels, value in dump[kind]:
                place = (name, tuple((k, v) for k, v in labels))
                found[place] = found.get(place, 0) + value
    plain = {kind: [[*key, value] for key, value in found.items()] for kind, found in numbers.items()}
    timed = [[*key, *found] for key, found in histograms.items()]
    return {"requests": [[*key, *found] for key, found in requests.items()], "histograms": timed, **plain}


def _sum(have: tuple[list[int], float] | None, buckets: list[int], total: float) -> tuple[list[int], float]:
    if have is None:
        return buckets, total
    return [a + b for a, b in zip(have[0], buckets, strict=True)], have[1] + total


def exposition(dumps: Iterable[Mapping[str, Any]]) -> str:
    """The Prometheus text of several processes' numbers, added up."""
    total = added(dumps)
    requests = [
        ("request", tuple(zip(("api", "consumer", "origin", "code"), key, strict=True)), buckets, seconds)
        for *key, buckets, seconds in total["requests"]
    ]
    lines = _histogram_lines([*requests, *map(tuple, total["histograms"])])
    lines += _number_lines(total["counters"], "counter", "_total")
    lines += _number_lines(total["gauges"], "gauge", "")
    return "\n".join(lines) + "\n"


def _histogram_lines(found: Iterable[Any]) -> list[str]:
    lines: list[str] = []
    last = ""
    for short, labels, buckets, total in sorted(found):
        name = f"millrace_{short}_seconds"
        if name != last:
            lines += [f"# HELP {name} {_HELP.get(short, short)}", f"# TYPE {name} histogram"]
            last = name
        so_far = 0
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), buckets, strict=True):
            so_far += count
            lines.append(f"{name}_bucket{_labels((*labels, ('le', bound)))} {so_far}")
        lines += [f"{name}_sum{_labels(labels)} {total:.9g}", f"{name}_count{_labels(labels)} {so_far}"]
    return lines


def _number_lines(found: Iterable[Any], kind: str, ending: str) -> list[str]:
    lines: list[str] = []
    last = ""
    for name, labels, value in sorted(found):
        whole = f"millrace_{name}{ending}"
        if whole != last:
            lines.append(f"# TYPE {whole} {kind}")
            last = whole
        lines.append(f"{whole}{_labels(labels)} {value:.15g}")
    return lines


def _labels(labels: Iterable[tuple[str, str]]) -> str:
    inside = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)
    return f"{{{inside}}}" if inside else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
