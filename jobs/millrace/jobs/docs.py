"""Data docs: a page for each run that has checked something, and one for the asset that lists them.

Pages stay as long as the run's version, and for the last KEPT runs in any case.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import quote

from millrace.catalog import CheckResult, VersionRecord
from millrace.jobs.context import RunContext
from millrace.jobs.docs_place import FOLDER, PAGE
from millrace.jobs.storage import Storage

KEPT = 20


def write(context: RunContext, results: Sequence[CheckResult]) -> None:
    """Write the run's page and list it. What goes wrong is told and fails no run: the results are in the catalog."""
    if not results:
        return
    try:
        from millrace.quality.gx.docs import render

        page = render(context.spec.asset, context.run_id, datetime.now(UTC), results)
        place = context.storage
        place.write(place.path(FOLDER, context.spec.asset, context.run_id, PAGE), page.encode())
        _list(place, context.spec.asset)
    except Exception as error:  # of whatever is in the way: a renderer, a disk
        context.observer.note(f"the data docs could not be written: {type(error).__name__}: {error}")


def prune(context: RunContext, kept: Sequence[VersionRecord]) -> None:
    """Remove the pages of runs that are neither among the last ones nor of a version that is kept."""
    place, asset = context.storage, context.spec.asset
    wanted = {run.id for run in context.catalog.runs.list(asset, limit=KEPT)} | {version.run_id for version in kept}
    gone = [run_id for run_id in _runs(place, asset) if run_id not in wanted]
    for run_id in gone:
        place.delete(place.path(FOLDER, asset, run_id))
    if gone:
        _list(place, asset)


def _runs(place: Storage, asset: str) -> list[str]:
    return [name for name in place.names(place.path(FOLDER, asset)) if name != PAGE]


def _list(place: Storage, asset: str) -> None:
    """Run ids grow with time, so the newest comes first."""
    runs = sorted(_runs(place, asset), reverse=True)
    items = "".join(f'<li><a href="{quote(run)}/{PAGE}">{html.escape(run)}</a></li>' for run in runs)
    title = html.escape(f"Checks of {asset}")
    text = f"<!doctype html><meta charset=utf-8><title>{title}</title><h1>{title}</h1><ul>{items}</ul>\n"
    place.write(place.path(FOLDER, asset, PAGE), text.encode())
