"""Links to data docs: of an asset in its DAG's documentation, of a run on its task `check` and in its alerts.

They lead to where MILLRACE_DATA_DOCS_URL says, or else to Airflow's own API server, which shows them: `docs_server`.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from airflow.sdk import BaseOperatorLink

from millrace.dags.request import StepOutcome
from millrace.errors import CheckFailed
from millrace.jobs.docs_place import PAGE, address
from millrace.spec.settings import Settings

PREFIX = "/millrace"
_ENV = "MILLRACE_DATA_DOCS_URL"


def environment() -> dict[str, str]:
    """What tells a step's process where its data docs are read, so that alerts link there."""
    return {_ENV: _own()} if not os.environ.get(_ENV) and urlsplit(_own()).scheme else {}


def of_asset(settings: Settings) -> str:
    """Where an asset's pages are listed; `{asset}` stands for its name."""
    return f"{(settings.data_docs_url or _own()).rstrip('/')}/{{asset}}/{PAGE}"


def page_of(asset: str, outcome: StepOutcome) -> str:
    """The page of what a step `check` has found; empty when it has checked nothing."""
    refused = outcome.error is not None and outcome.error.kind == CheckFailed.__name__
    if outcome.run_id is None or not (refused or outcome.stats.get("checks")):
        return ""
    settings = Settings.from_env()
    return address(replace(settings, data_docs_url=settings.data_docs_url or _own()), asset, outcome.run_id)


def _own() -> str:
    """Airflow's own address, without a server where Airflow isn't told it (`[api] base_url`)."""
    from airflow.sdk.configuration import conf

    return f"{conf.get('api', 'base_url', fallback='').rstrip('/')}{PREFIX}/docs"


class DataDocsLink(BaseOperatorLink):
    """The button of a task that checks: the page of its run."""

    name = "Data docs"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Called where the task ran."""
        return "" if operator.outcome is None else page_of(operator.asset, operator.outcome)
