"""From a spec's outline to its Airflow DAG. No business logic: each task does one step of the engine.

    input:   plan → stage → check
    targets: load, mapped over the targets, side by side → verify, mapped alike
    release: publish, which emits the asset's event → retire

`retire` is a teardown: it runs whatever became of the others, and when the run was not published it gives it up, so
that what was loaded goes away and the next run can begin. The run's state is that of `publish`.

Built from Airflow's own classes: importing this brings in no Spark, pandas or Great Expectations.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Asset, CronDataIntervalTimetable, TaskGroup
from airflow.sdk.definitions.param import ParamsDict
from pendulum import timezone

from millrace.dags import data_docs, pools
from millrace.dags.config import DagConfig, load_config
from millrace.dags.documentation import documentation, tags
from millrace.dags.operator import CheckOperator, PublishOperator, RetireOperator, StepOperator
from millrace.dags.outline import Outline
from millrace.dags.outlines import Outlines
from millrace.dags.parameters import parameters
from millrace.spec.priority import Priority
from millrace.spec.settings import Settings

WEIGHTS = {Priority.HIGH: 100, Priority.MEDIUM: 10, Priority.LOW: 1}
_TIMEOUT_GRACE = timedelta(minutes=2)  # the task itself ends its step in time; this is for one that hangs
_MAIL = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+", re.ASCII)
_SHORT = 200  # characters of a description in the list of DAGs


def spec_dag(spec: str, outlines: str, config: str | None = None) -> DAG:
    """The DAG of a spec file; what a DAG file of the bundle calls.

    `outlines` is the folder that keeps what is known of unchanged specs. Raises SpecError, which Airflow shows as this
    file's import error, with each error's line.
    """
    outline = Outlines(Path(outlines)).of(Path(spec))
    found = load_config(Path(config) if config else None)
    linked = replace(found, data_docs=found.data_docs or data_docs.of_asset(Settings.from_env()))
    return build_dag(outline, linked, config)


def build_dag(outline: Outline, config: DagConfig, config_path: str | None = None) -> DAG:
    """The DAG of an outline: the same for the same values."""
    with DAG(
        dag_id=outline.asset,
        description=" ".join(outline.description.split())[:_SHORT] or None,
        schedule=_schedule(outline),
        start_date=_start(outline),
        catchup=outline.catch_up,
        max_active_runs=1,
        max_active_tasks=max(2, len(outline.targets)),
        doc_md=documentation(outline, config),
        tags=tags(outline),
        owner_links=_owner_links(outline, config),
        is_paused_upon_creation=False,
        default_args=_default_args(outline, config),
    ) as dag:
        _tasks(outline, config_path)
    dag.params = ParamsDict(
        parameters(outline)
    )  # last: each task would else get a deep copy, though a run merges them anyway
    return dag


def asset_of(name: str) -> Asset:
    """Airflow's asset of one of ours: the same wherever it is named."""
    return Asset(name=name, uri=f"millrace://{name}", group="millrace")


def _tasks(outline: Outline, config_path: str | None) -> None:
    about: dict[str, Any] = {
        "asset": outline.asset,
        "spec": outline.path,
        "connections": list(outline.connections),
        "timeout_s": outline.timeout_s,
        "config": config_path,
    }
    names = [target.name for target in outline.targets]
    with TaskGroup("input", prefix_group_id=False, tooltip="Freeze the inputs, read them once, check them"):
        plan, stage = (StepOperator(task_id=step, step=step, **about) for step in ("plan", "stage"))
        check = CheckOperator(task_id="check", step="check", **about)
    with TaskGroup("targets", prefix_group_id=False, tooltip="Load every target, and read back what it holds"):
        load, verify = (
            StepOperator.partial(task_id=step, step=step, map_index_template="{{ task.target }}", **about).expand(
                target=names
            )
            for step in ("load", "verify")
        )
    with TaskGroup("release", prefix_group_id=False, tooltip="Switch every reader over, and erase what is too old"):
        publish = PublishOperator(
            task_id="publish",
            step="publish",
            inlets=[asset_of(name) for name in outline.after],
            outlets=[asset_of(outline.asset)],
            **about,
        )
        retire = RetireOperator(task_id="retire", step="retire", **about)
    plan >> stage >> check >> load >> verify >> publish >> retire
    retire.as_teardown()


def _schedule(outline: Outline) -> Any:
    if outline.after:
        return [asset_of(name) for name in outline.after]
    return CronDataIntervalTimetable(outline.cron, timezone=outline.timezone) if outline.cron else None


def _start(outline: Outline) -> datetime | None:
    if not outline.start:
        return None
    day = date.fromisoformat(outline.start)
    return datetime(day.year, day.month, day.day, tzinfo=timezone(outline.timezone))


def _owner_links(outline: Outline, config: DagConfig) -> dict[str, str]:
    if outline.owner in config.owner_links:
        return {outline.owner: config.owner_links[outline.owner]}
    if _MAIL.fullmatch(outline.owner):
        return {outline.owner: f"mailto:{outline.owner}"}
    return {}


def _default_args(outline: Outline, config: DagConfig) -> dict[str, Any]:
    priority = Priority(outline.priority)
    return {
        "owner": outline.owner or "millrace",
        "pool": pools.name_of(outline.business_line, priority),
        "priority_weight": WEIGHTS[priority],
        "weight_rule": "absolute",
        "retries": config.retries,
        "retry_delay": config.retry_wait,
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": config.longest_wait,
        "execution_timeout": timedelta(seconds=outline.timeout_s) + _TIMEOUT_GRACE if outline.timeout_s else None,
    }
