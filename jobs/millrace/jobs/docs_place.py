"""Where data docs are, as files and as addresses. It brings nothing with it: an Airflow DAG asks for it, too.

WORK_DIR/_docs/<asset>/<run id>/index.html    a run's results
WORK_DIR/_docs/<asset>/index.html             the asset's runs that have a page

No asset's name begins with `_`.
"""

from __future__ import annotations

from urllib.parse import quote

from millrace.spec.settings import Settings

FOLDER = "_docs"
PAGE = "index.html"


def address(settings: Settings, asset: str, run_id: str) -> str:
    """Where a run's page is read: by MILLRACE_DATA_DOCS_URL, or else where it is written."""
    if settings.data_docs_url:
        return f"{settings.data_docs_url.rstrip('/')}/{quote(asset)}/{quote(run_id)}/{PAGE}"
    return "/".join((settings.work_dir.rstrip("/"), FOLDER, asset, run_id, PAGE))
