"""Links to data docs: of an asset in its DAG's documentation, of a run on its task `check` and in its alerts.

They lead to where MILLRACE_DATA_DOCS_URL says, or else to Airflow's own API server, which shows them: `docs_server`.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from airflow.sdk import BaseOperatorLink

from millrace.jobs.docs_place import PAGE
from millrace.spec.settings import Settings

PREFIX = "/millrace"
_ENV = "MILLRACE_DATA_DOCS_URL"


def environment() -> dict[str, str]:
    """What tells a step's process where its data docs are read, so that alerts link there."""
    return {_ENV: _own()} if not os.environ.get(_ENV) and urlsplit(_own()).scheme else {}


def of_asset(settings: Settings) -> str:
    """Where an asset's pages are listed; `{asset}` stands for its name."""
    return f"{(settings.data_docs_url or _own()).rstrip('/')}/{{asset}}/{PAGE}"


def _own() -> str:
    """Airflow's own address, without a server where Airflow isn't told it (`[api] base_url`)."""
    from airflow.sdk.configuration import conf

    return f"{conf.get('api', 'base_url', fallback='').rstrip('/')}{PREFIX}/docs"


class DataDocsLink(BaseOperatorLink):
    """The button of a task that checks: the page of its run."""

    name = "Data docs"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Called where the task ran; none when nothing was checked."""
        outcome = operator.outcome
        if outcome is None or outcome.run_id is None or (outcome.error is None and not outcome.stats["checks"]):
            return ""
        url = Settings.from_env().data_docs_url or _own()
        return f"{url.rstrip('/')}/{operator.asset}/{outcome.run_id}/{PAGE}"
