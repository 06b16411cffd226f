"""The steps `publish` and `retire`, and their reverse: rollback, the clean-up of a failed version, removal.

The catalog's transaction is the one switch. Each store's own pointer follows it, and is confirmed when it has; what a
crash leaves in between is rolled forward by whoever comes next (`roll_forward`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from millrace.catalog import ApiDefinition, Catalog, Flip, Publication, VersionRecord, VersionState
from millrace.connectors.base import Target
from millrace.errors import MillraceError
from millrace.jobs import docs, streams, superseded
from millrace.jobs.context import RunContext, Stats, open_recorded, store_version
from millrace.jobs.plan import target_plans
from millrace.jobs.spark_errors import translate
from millrace.jobs.storage import Storage
from millrace.spec import Spec
from millrace.spec.connection import Connection

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TargetOf = Callable[[str], Target]


class Workplace(Protocol):
    """What erasing a version needs; a `Driver` and a `RunContext` are such."""

    @property
    def spec(self) -> Spec: ...

    @property
    def catalog(self) -> Catalog: ...

    @property
    def storage(self) -> Storage: ...

    def spark(self) -> SparkSession: ...

    def target(self, name: str) -> Target: ...

    def connection(self, name: str) -> Connection: ...


def publish(context: RunContext) -> Stats:
    """Make the run's version current for every reader; called again after a crash it completes the same flip."""
    plan, version = context.plan(), context.version()
    if version.state is VersionState.LOADING:
        rows = [int(context.step_stats(f"load:{t.name}")["rows_loaded"]) for t in context.spec.targets]
        context.catalog.versions.loaded(version.id, max(rows))
    publication = Publication(version.id, plan.source.watermark, api_definitions(context.spec))
    flip = context.catalog.publish(context.lease, publication)
    streams.end_undeclared(context)
    move_pointers(context.catalog, flip, [t.name for t in context.spec.targets], context.target)
    return {"version": flip.version.id, "previous": flip.previous.id if flip.previous else None}


def move_pointers(catalog: Catalog, flip: Flip, targets: Sequence[str], target_of: TargetOf) -> None:
    """Let each store's own pointer follow the catalog's, and confirm each one that has."""
    for name in targets:
        target = target_of(name)
        try:
            target.publish(store_version(flip.version))
        finally:
            target.close()
        catalog.pointer_confirmed(flip.asset, name, flip.version.id)


def roll_forward(catalog: Catalog, asset: str, target_of: TargetOf) -> list[str]:
    """Complete what a crash has left between the catalog's switch and the stores; the names of the mended targets."""
    mended = []
    for gap in catalog.unconfirmed_pointers(asset):
        target = target_of(gap.target)
        try:
            target.publish(store_version(catalog.versions.get(gap.wanted)))
        finally:
            target.close()
        catalog.pointer_confirmed(asset, gap.target, gap.wanted)
        mended.append(gap.target)
    return mended


def rollback(catalog: Catalog, spec: Spec, target_of: TargetOf, to: str | None = None, reason: str = "") -> Flip:
    """Flip back to an older version that is still kept. Raises NotFound when there is none."""
    roll_forward(catalog, spec.asset, target_of)
    flip = catalog.rollback(spec.asset, to, reason=reason)
    move_pointers(catalog, flip, [t.name for t in spec.targets], target_of)
    return flip


def retire(context: RunContext) -> Stats:
    """Erase what is beyond `versions.keep`, and versions that never became current. Failures are told, not raised.

    The new version is already published: a store that can't erase now is asked again by the next run.
    """
    retired, failed = [], []
    for record in context.catalog.versions.retirable(context.spec.asset, context.spec.versions.keep):
        try:
            erase(context, record)
            retired.append(record.id)
        except MillraceError as error:
            failed.append(record.id)
            context.observer.note(f"version {record.id} could not be erased yet: {error.message}")
    _delete_stale_stages(context)
    return {"retired": retired, "failed": failed}


def erase(place: Workplace, record: VersionRecord, *, keep_stage: bool = False) -> None:
    """Take a version out of every target it was loaded into, then its stage; safe to repeat after a crash."""
    catalog = place.catalog
    catalog.versions.erase_started(record.id)
    if _was_loaded(catalog, record):
        erase_in_stores(place, record)
    if not keep_stage:
        place.storage.delete(place.storage.path(record.asset, record.run_id))
    catalog.versions.erase_finished(record.id)


def _was_loaded(catalog: Catalog, record: VersionRecord) -> bool:
    """Whether a load of it has ever begun: a dry run's never has, and to take it away needs no store and no Spark."""
    steps = catalog.runs.get(record.run_id).steps
    return any(step.name.startswith("load:") and step.attempt for step in steps)


def erase_in_stores(place: Workplace, record: VersionRecord) -> None:
    """Take a version out of the stores alone, whatever the catalog says of it."""
    known = {plan.name: plan for plan in target_plans(place.spec)}
    for name, recorded in record.targets.items():
        streams.let_go(place.spec, recorded, place.connection)
        if name in known:  # a target that has left the spec keeps its last data
            as_it_was = (recorded["connector"], recorded["options"]) != (known[name].connector, known[name].options)
            target = open_recorded(recorded, place.connection) if as_it_was else place.target(name)
            _erase_in(place, record, name, target)


def _erase_in(place: Workplace, record: VersionRecord, name: str, target: Target) -> None:
    """By the options that it was loaded with: others may mean other keys."""
    version = store_version(record)
    try:
        others = [v for v in place.catalog.versions.line(record.rows_id) if v.id != record.id]
        if any(v.erased_at is None for v in others):
            target.forget(version)
            return
        staged = place.storage.path(record.asset, record.run_id, "stage")
        whole = not others and place.storage.exists(staged)  # one stage holds only the keys of its own version
        eraser = target.eraser(version) if whole else None
        if eraser is not None:
            from millrace.jobs.load import run_over_keys
            from millrace.jobs.staged import staged_rows

            run_over_keys(staged_rows(place, staged), target, eraser)
        target.drop(version)
    except Exception as error:
        raise translate(error, f"erasing version {record.id} of {record.asset} in {name}") from error
    finally:
        target.close()


def _delete_stale_stages(context: RunContext) -> None:
    """Stages of ended runs of this asset whose version is gone, or that never got one."""
    asset = context.spec.asset
    states = (
        VersionState.LOADING,
        VersionState.LOADED,
        VersionState.CURRENT,
        VersionState.RETIRED,
        VersionState.ROLLED_BACK,
    )
    versions = context.catalog.versions.list(asset, states, erased=False)
    docs.prune(context, versions)
    superseded.tidy(context, versions)
    kept = {v.run_id for v in versions}
    for run_id in context.storage.names(context.storage.path(asset)):
        if run_id not in kept and run_id != context.run_id:
            context.storage.delete(context.storage.path(asset, run_id))


def api_definitions(spec: Spec) -> tuple[ApiDefinition, ...]:
    """The spec's APIs as the catalog keeps them."""
    return tuple(ApiDefinition(api.name, api.kind, api.definition) for api in spec.apis)
