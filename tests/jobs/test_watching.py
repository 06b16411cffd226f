"""How far a run is, as the watch around it tells."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from millrace.jobs.watching import Watch


class Kept(Watch):
    def __init__(self) -> None:
        super().__init__(every_s=0.001)
        self.told: list[str] = []
        self.refreshed: list[Sequence[str]] = []
        self.seen = threading.Event()

    def _tell(self, line: str) -> None:
        self.told.append(line)

    def _refresh(self, lines: Sequence[str]) -> None:
        self.refreshed.append(lines)
        if any("500 rows" in line for line in lines):
            self.seen.set()


def test_steps_under_way_are_refreshed_with_their_rows_until_they_are_done() -> None:
    with Kept() as watch:
        watch.step_started("stage")
        watch.step_progress("stage", 500, 1024, 1000)
        assert watch.seen.wait(60)
        watch.step_finished("retire", {"seconds": 1.5, "versions": []})
        watch.note("something else")
    assert [line.split()[:2] for line in watch.told] == [["✓", "retire"], ["·", "something"]]
    told = len(watch.refreshed)
    assert "of about 1,000 (50%)" in next(lines for lines in watch.refreshed if lines and "500" in lines[0])[0]
    assert len(watch.refreshed) == told
