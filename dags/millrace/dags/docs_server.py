"""Data docs, shown by Airflow's API server to whoever may see the runs of the DAG that is called like the asset.

They are read from the work directory: a folder that the API server sees, too. Each process of Airflow loads this
plugin, so that it imports nothing before it is asked for a page.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from airflow.plugins_manager import AirflowPlugin

from millrace.dags.data_docs import PREFIX
from millrace.jobs.docs_place import FOLDER, PAGE
from millrace.spec.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import Receive, Scope, Send

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)
#: A page can run its own scripts, and reaches nothing of Airflow's with them.
_HEADERS = {"Content-Security-Policy": "sandbox allow-scripts allow-popups", "Cache-Control": "private, no-cache"}


class _Lazy:
    """An ASGI application that is made when it is first asked."""

    def __init__(self) -> None:
        self._app: FastAPI | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._app is None:
            self._app = application(Settings.from_env())
        await self._app(scope, receive, send)


class MillracePlugin(AirflowPlugin):
    """What Airflow's API server gets from us."""

    name = "millrace"
    fastapi_apps = [{"app": _Lazy(), "url_prefix": PREFIX, "name": "millrace"}]  # noqa: RUF012  # as Airflow has it


def application(settings: Settings) -> FastAPI:
    """The pages of `_docs`, to users of Airflow who may read the runs of the DAG of that name."""
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
    from airflow.api_fastapi.core_api.security import requires_access_dag
    from fastapi import Depends, FastAPI, HTTPException
    from fastapi.responses import HTMLResponse

    app = FastAPI(title="millrace", openapi_url=None)
    allowed = [Depends(requires_access_dag("GET", DagAccessEntity.RUN))]

    def page(*names: str) -> HTMLResponse:
        file = Path(urlsplit(settings.work_dir).path, FOLDER, *names, PAGE)
        if all(map(_NAME.fullmatch, names)) and not _is_away(settings) and file.is_file():
            return HTMLResponse(file.read_text(encoding="utf-8"), headers=_HEADERS)
        raise HTTPException(
            404, f"there are no data docs of {'/'.join(names)} in {settings.work_dir}, as seen from here"
        )

    @app.get(f"/docs/{{dag_id}}/{PAGE}", dependencies=allowed)
    def of_one_asset(dag_id: str) -> HTMLResponse:
        return page(dag_id)

    @app.get(f"/docs/{{dag_id}}/{{run_id}}/{PAGE}", dependencies=allowed)
    def of_one_run(dag_id: str, run_id: str) -> HTMLResponse:
        return page(dag_id, run_id)

    return app


def _is_away(settings: Settings) -> bool:
    """Whether the work directory is on a file system that is Spark's to read."""
    return urlsplit(settings.work_dir).scheme not in ("", "file")
