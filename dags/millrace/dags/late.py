"""The DAG that finds late assets: every five minutes, whatever has become of their own DAGs.

An asset whose DAG hangs, is paused or can't be imported any more is told all the same, once for an incident (see
`millrace.quality.alerts`). It also sends what other alerts are still on their way.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, BaseOperator

from millrace.dags import connections
from millrace.dags.layout import spec_files
from millrace.dags.outline import Outline
from millrace.dags.outlines import Outlines
from millrace.errors import SpecError

if TYPE_CHECKING:
    from airflow.sdk import Context

DAG_ID = "millrace.late"  # no asset's name has a dot
EVERY = "*/5 * * * *"


def late_dag(specs: Sequence[str], outlines: str) -> DAG:
    """The DAG over the specs of these folders; what the bundle's file for it calls."""
    with DAG(
        dag_id=DAG_ID,
        description="Tells which assets were not published in time",
        schedule=EVERY,
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        doc_md=__doc__,
        tags={"millrace"},
        is_paused_upon_creation=False,
        default_args={"owner": "millrace", "priority_weight": 1000, "weight_rule": "absolute", "retries": 0},
    ) as dag:
        LateOperator(task_id="late", specs=list(specs), outlines=outlines)
    return dag


class LateOperator(BaseOperator):
    """Looks at every asset that has an alert on `late`; its XCom are the names of those that are."""

    template_fields: Sequence[str] = ()
    ui_color = "#f6efe7"

    def __init__(self, *, specs: Sequence[str], outlines: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.specs = list(specs)
        self.outlines = outlines

    def execute(self, context: Context) -> list[str]:
        """A bad spec keeps no other asset from being found late, and shows as its own import error."""
        watched = self._watched()
        destinations = {name for outline in watched for name in outline.late}
        os.environ.update(connections.environment(sorted(destinations)))  # a task has a process of its own
        from millrace.jobs.alerting import find_late
        from millrace.spec.settings import Settings

        settings, now = Settings.from_env(), datetime.now(UTC)
        late, went = find_late([Path(o.path) for o in watched], settings, now, destinations)
        for name in late:
            self.log.info("%s is late", name)
        for line in went:
            self.log.info("%s", line)
        self.log.info("%d of %d assets are late", len(late), len(watched))
        return late

    def _watched(self) -> list[Outline]:
        kept, found = Outlines(Path(self.outlines)), []
        for path in spec_files([Path(folder) for folder in self.specs]):
            try:
                outline = kept.of(path)
            except SpecError:
                continue
            if outline.late:
                found.append(outline)
        return found
