"""What all benchmarks share: both sides in one run, turn by turn, their medians, one line of JSON a measure."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

ROUNDS = 7


@dataclass(frozen=True)
class Seconds:
    """The median time that each side took for the same work."""

    ours: float
    reference: float


def side_by_side(ours: Callable[[], object], reference: Callable[[], object], rounds: int = ROUNDS) -> Seconds:
    """Time both sides, alternating so that a change of the machine's load meets both; one untimed turn first."""
    ours()
    reference()
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds):
        sides = list(zip((ours, reference), times, strict=True))
        for side, found in sides if turn % 2 == 0 else reversed(sides):
            found.append(timed(side))
    return Seconds(statistics.median(times[0]), statistics.median(times[1]))


def timed(work: Callable[[], object]) -> float:
    """The seconds that a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def print_measure(name: str, ours: float, reference: float, unit: str) -> None:
    """One line of JSON. `ratio` is ours / reference: as speeds, so more is better, unless the unit says otherwise."""
    measure = {"name": name, "ours": ours, "reference": reference, "unit": unit, "ratio": ours / reference}
    shown = {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in measure.items()}
    print(json.dumps(shown), flush=True)


def pin_to_one_core() -> None:
    """Keep this process, and Arrow's threads in it, on the last core that it may use. Does nothing outside of Linux."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    import pyarrow as pa

    pa.set_cpu_count(1)


def rows_argument(description: str | None, default: int) -> int:
    """The number of rows that `--rows` asks for, at least 1."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=default, help=f"rows to encode (default: {default:,})")
    rows: int = parser.parse_args().rows
    if rows < 1:
        parser.error(f"--rows is {rows}, expected at least 1")
    return rows
