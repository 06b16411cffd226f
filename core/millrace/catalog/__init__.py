"""What is known of assets, runs, versions, APIs, checks and dirty records, in one database.

`Catalog.open(url)` is the way in; everything that comes out is a frozen value of `model`.
"""

from __future__ import annotations

from millrace.catalog.alert_model import AlertRecord, AlertState, IncidentRecord, NewAlert
from millrace.catalog.catalog import Catalog
from millrace.catalog.clock import Clock, utc_now
from millrace.catalog.model import (
    ApiDefinition,
    ApiMark,
    ApiRecord,
    AssetField,
    AssetRecord,
    Change,
    CheckRecord,
    CheckResult,
    DirtyLike,
    DirtyReason,
    DirtyRecord,
    Flip,
    Lease,
    LeaseHolder,
    NewRun,
    PointerGap,
    Publication,
    Registration,
    RunError,
    RunRecord,
    RunState,
    StepRecord,
    StepState,
    VersionRecord,
    VersionState,
)
from millrace.catalog.owner import Owner, this_process

__all__ = [
    "AlertRecord",
    "AlertState",
    "ApiDefinition",
    "ApiMark",
    "ApiRecord",
    "AssetField",
    "AssetRecord",
    "Catalog",
    "Change",
    "CheckRecord",
    "CheckResult",
    "Clock",
    "DirtyLike",
    "DirtyReason",
    "DirtyRecord",
    "Flip",
    "IncidentRecord",
    "Lease",
    "LeaseHolder",
    "NewAlert",
    "NewRun",
    "Owner",
    "PointerGap",
    "Publication",
    "Registration",
    "RunError",
    "RunRecord",
    "RunState",
    "StepRecord",
    "StepState",
    "VersionRecord",
    "VersionState",
    "this_process",
    "utc_now",
]
