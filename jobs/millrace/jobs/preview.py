"""Looks ahead that write nothing: what a run would read, and what its first rows would be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from millrace.catalog import Catalog
from millrace.connectors.base import DirtyRow, PlanRequest, Window
from millrace.jobs.available import refuse_what_cannot_run
from millrace.jobs.context import connections_of, open_source
from millrace.jobs.gate import GateServer, StepLimits
from millrace.jobs.lines import beginning
from millrace.jobs.plan import RunPlan, columns_of, make_plan
from millrace.jobs.session import SessionHolder
from millrace.jobs.spark_errors import translate
from millrace.jobs.transform import transform
from millrace.jobs.windows import for_window
from millrace.spec import Spec
from millrace.spec.settings import Settings
from millrace.spec.types import Column

NO_WINDOW = Window()


@dataclass(frozen=True)
class Preview:
    columns: tuple[Column, ...]
    rows: tuple[Mapping[str, Any], ...]
    dirty: tuple[DirtyRow, ...]


def plan_of(
    spec: Spec,
    settings: Settings,
    catalog: Catalog,
    session: SessionHolder | None = None,
    window: Window = NO_WINDOW,
    *,
    full_refresh: bool = False,
) -> RunPlan:
    """The plan that a run would freeze now. Starts Spark only for a source that can't be planned without it."""
    refuse_what_cannot_run(spec)
    session = session or SessionHolder(settings)
    spec = for_window(spec, window)
    begins = beginning(spec, catalog, window, full_refresh=full_refresh)
    request = PlanRequest(spec.limits.channels, window, begins.watermark, session.get)
    return make_plan(spec, window, open_source(spec, connections_of(settings)).plan(request), begins.line)


def preview_rows(spec: Spec, settings: Settings, catalog: Catalog, count: int, window: Window = NO_WINDOW) -> Preview:
    """The first `count` rows after source and transform, and the rows set aside on the way to them."""
    session = SessionHolder(settings)
    session.start()
    spec = for_window(spec, window)
    plan = plan_of(spec, settings, catalog, session, window)
    with GateServer(session.gate_host) as server:
        gate = server.open_step("preview", StepLimits())
        try:
            read = open_source(spec, connections_of(settings)).read(session.get(), plan.source, gate)
            frame = transform(read.frame, spec.transform, gate).frame
            found = frame.limit(count).toArrow()  # by Arrow, because `collect` puts times into this process's zone
            rows = tuple(found.to_pylist(maps_as_pydicts="lossy"))
        except Exception as error:
            raise translate(error, f"previewing {spec.asset}") from error
        return Preview(columns_of(frame.schema), rows, tuple(server.dirty_rows("preview"))[:count])
