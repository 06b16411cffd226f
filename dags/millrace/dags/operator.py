"""The tasks of a DAG: each does one step of the engine, in a process of its own, and tells Airflow how it went.

A step that failed for a reason that may pass (a server that was away, a lost driver, another run that holds the asset)
is tried again by Airflow, with longer and longer waits; anything else fails at once. A task that is cleared does its
own step again, from the plan and the stage that its run has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    AirflowTaskTimeout,
)

from millrace.dags import connections, data_docs, windows
from millrace.dags.choices import Choices, choices
from millrace.dags.config import load_config
from millrace.dags.data_docs import DataDocsLink, page_of
from millrace.dags.process import StepProcess
from millrace.dags.request import StepOutcome, StepRequest
from millrace.dags.submission import submission
from millrace.errors import SpecError

if TYPE_CHECKING:
    from airflow.sdk import Context

PLAN = "plan"
RUN_KEY = "millrace_run"


class StepOperator(BaseOperator):
    """One step of a run: `plan`, `stage`, `check`, or `load` or `verify` of one target."""

    template_fields: Sequence[str] = ()
    ui_color = "#e7eff6"

    def __init__(
        self,
        *,
        step: str,
        asset: str,
        spec: str,
        connections: Sequence[str] = (),
        timeout_s: float | None = None,
        config: str | None = None,
        target: str = "",
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self.step = step
        self.asset = asset
        self.spec = spec
        self.connections = list(connections)
        self.timeout_s = timeout_s
        self.config = config
        self.target = target
        self._process: StepProcess | None = None
        self.outcome: StepOutcome | None = None

    def execute(self, context: Context) -> Any:
        """Do the step; its counts are the task's XCom. Raises AirflowFailException where a further try is no use."""
        if self.step == "load" and _choices(context).dry_run:
            raise AirflowSkipException("a dry run loads and publishes nothing")
        return self._do(context).stats

    def on_kill(self) -> None:
        """Stop the step's process, and with it its Spark application."""
        if self._process is not None:
            self._process.stop()

    def _do(self, context: Context) -> StepOutcome:
        request = self._request(context)
        how = submission(load_config(Path(self.config) if self.config else None).spark_connection)
        environment = {**data_docs.environment(), **connections.environment(self.connections)}
        self._process = StepProcess(request, how, environment, self._say)
        try:
            outcome = self._process.run(self._seconds_left(context))
        except AirflowTaskTimeout:
            self._process.stop()
            raise AirflowFailException(f"step '{self.step}' of {self.asset} hung, and was stopped") from None
        self.outcome = outcome
        if outcome.run_id is not None and self.step == PLAN:
            context["ti"].xcom_push(key=RUN_KEY, value=outcome.run_id)
        if outcome.error is None:
            return outcome
        raise (AirflowException if outcome.error.transient else AirflowFailException)(str(outcome.error))

    def _say(self, line: str) -> None:
        self.log.info("%s", line)

    def _request(self, context: Context) -> StepRequest:
        run = context["dag_run"]
        try:
            choice = _choices(context)
        except SpecError as error:
            raise AirflowFailException(str(error)) from None
        start, end = choice.interval or windows.of_run(context)
        return StepRequest(
            step=f"{self.step}:{self.target}" if self.target else self.step,
            asset=self.asset,
            spec=self.spec,
            key=run.run_id,
            run_id=None if self.step == PLAN else _run_id(context),
            trigger=f"airflow:{getattr(run.run_type, 'value', run.run_type)}",
            window_start=start,
            window_end=end,
            full_refresh=choice.full_refresh,
            dry_run=choice.dry_run,
            limits=choice.limits,
        )

    def _seconds_left(self, context: Context) -> float | None:
        """What is left of `limits.timeout`, which counts from the start of the run."""
        started = context["dag_run"].start_date
        if self.timeout_s is None or started is None:
            return None
        return self.timeout_s - (datetime.now(UTC) - started).total_seconds()


class CheckOperator(StepOperator):
    """The step `check`, with a button that leads to what the checks found."""

    operator_extra_links = (DataDocsLink(),)

    def _do(self, context: Context) -> StepOutcome:
        try:
            return super()._do(context)
        finally:
            if self.outcome is not None and (link := page_of(self.asset, self.outcome)):
                self._say(f"data docs: {link}")


class PublishOperator(StepOperator):
    """The step `publish`. Its asset event carries the version, its rows, window, checks and targets."""

    def execute(self, context: Context) -> Any:
        outcome = self._do(context)
        for outlet in self.outlets:
            context["outlet_events"][outlet].extra = dict(outcome.publication)
        return outcome.stats

    def get_openlineage_facets_on_complete(self, _task_instance: object) -> Any:
        """What Airflow's OpenLineage provider asks for after the task; nothing when the publish did not come about."""
        if self.outcome is None or not self.outcome.publication:
            return None
        from millrace.dags.lineage import of_publish

        return of_publish(self.outcome.publication, self.owner, self.dag.description or self.asset)


class RetireOperator(StepOperator):
    """The end of a run: the step `retire` of one that was published; any other one is given up."""

    def _seconds_left(self, context: Context) -> float | None:
        return None


def _run_id(context: Context) -> str | None:
    """The engine's run, as the task `plan` told it; None when it could not."""
    found: str | None = context["ti"].xcom_pull(task_ids=PLAN, key=RUN_KEY)
    return found


def _choices(context: Context) -> Choices:
    params: Mapping[str, Any] = context["params"]
    defaults = context["dag"].params
    return choices(params, defaults["limits"] or {})
