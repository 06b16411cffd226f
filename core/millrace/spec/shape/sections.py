"""The sections of a spec, and the spec as a whole with the connectors that are installed."""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, create_model, model_validator

from millrace.spec import model
from millrace.spec.connector import Mode, Options, connectors
from millrace.spec.priority import Priority
from millrace.spec.shape.apis import ApiEntry
from millrace.spec.shape.checks import CheckEntry
from millrace.spec.shape.cron import PRESETS, check_cron, check_zone
from millrace.spec.shape.fields import (
    Choice,
    ColumnName,
    Line,
    Name,
    Names,
    Part,
    Positive,
    Text,
    Whole,
    optional,
    problem,
)
from millrace.spec.shape.steps import StepEntry
from millrace.spec.units import Duration, Ratio, Size

MAX_TARGETS = 64


class ScheduleSection(Part):
    """When runs start."""

    cron: Annotated[str, BeforeValidator(check_cron)] | None = Field(
        default=None,
        description="A cron line of five fields, or @hourly, @daily, @weekly, @monthly, @yearly.",
        examples=["0 * * * *"],
    )
    after: Names | None = Field(
        default=None, description="Start when all of these assets were published anew.", examples=[["plays"]]
    )
    timezone: Annotated[str, BeforeValidator(check_zone)] = Field(
        default="UTC", description="The time zone of `cron`.", examples=["Europe/Berlin"]
    )
    start: date | None = Field(
        default=None, description="The first day of which runs are made.", examples=["2026-01-01"]
    )
    catch_up: bool = Field(default=False, description="Whether missed intervals since `start` are run.")

    @model_validator(mode="after")
    def _cron_or_after(self) -> ScheduleSection:
        if (self.cron is None) == (self.after is None):
            raise problem("a schedule has either 'cron' or 'after'")
        if self.catch_up and self.start is None:
            raise problem("catch_up needs 'start', the first day to catch up from")
        return self


class DirtySection(Part):
    """How many rows may be set aside as dirty records; none, unless a limit is given."""

    what: ClassVar[str] = "dirty"

    max_rows: Whole | None = Field(default=None, description="The most dirty rows of a run.", examples=[100])
    max_ratio: Annotated[Ratio, Field(le=1)] | None = Field(
        default=None, description="The largest share of dirty rows among the rows read.", examples=["0.1%"]
    )

    @model_validator(mode="after")
    def _some_limit(self) -> Self:
        if self.max_rows is None and self.max_ratio is None:
            raise problem(f"'{self.what}' needs 'max_rows', 'max_ratio' or both")
        return self

    def limits(self) -> model.DirtyLimits:
        """The limits as the engine takes them."""
        return model.DirtyLimits(self.max_rows, self.max_ratio)


class QuarantineSection(DirtySection):
    """How many rows checks may set aside with `severity: quarantine`."""

    what: ClassVar[str] = "quarantine"

    max_rows: Whole | None = Field(default=None, description="The most quarantined rows of a run.", examples=[100])
    max_ratio: Annotated[Ratio, Field(le=1)] | None = Field(
        default=None, description="The largest share of quarantined rows among the staged ones.", examples=["0.1%"]
    )


class LimitsSection(Part):
    """What a run may use; speeds hold over all channels together."""

    channels: Annotated[Positive, Field(le=1024)] = Field(
        default=4, description="How many tasks read and write side by side.", examples=[4]
    )
    rows_per_second: Positive | None = Field(default=None, description="The most rows a second.", examples=[200000])
    bytes_per_second: Annotated[Size, Field(gt=0)] | None = Field(
        default=None, description="The most bytes a second.", examples=["50MiB"]
    )
    dirty: DirtySection | None = Field(
        default=None, description="Dirty records that are put up with; none by default.", examples=[{"max_rows": 100}]
    )
    quarantine: QuarantineSection | None = Field(
        default=None,
        description="Rows that checks with `severity: quarantine` may set aside.",
        examples=[{"max_rows": 100, "max_ratio": "0.1%"}],
    )
    timeout: Annotated[Duration, Field(gt=timedelta(0))] | None = Field(
        default=None, description="The longest time for a run, after which it is stopped.", examples=["30m"]
    )

    def limits(self) -> model.Limits:
        """The limits as the engine takes them."""
        return model.Limits(
            channels=self.channels,
            rows_per_second=self.rows_per_second,
            bytes_per_second=self.bytes_per_second,
            dirty=self.dirty.limits() if self.dirty is not None else model.DirtyLimits(),
            quarantine=self.quarantine.limits() if self.quarantine is not None else model.DirtyLimits(),
            timeout=self.timeout,
        )


def _one_event(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class AlertEntry(Part):
    """Who is told of what."""

    on: Annotated[tuple[model.AlertEvent, ...], BeforeValidator(_one_event), Field(min_length=1)] = Field(
        description="The events that are told.", examples=[["check_failed", "run_failed", "late"]]
    )
    to: Line = Field(description="A destination: the name of a connection.", examples=["ops_webhook"])
    late_after: Annotated[Duration, Field(gt=timedelta(0))] | None = Field(
        default=None,
        description="It is `late` when nothing was published this long after the schedule's time, or without a cron "
        "line this long after the last publish. 1 hour by default, without a cron line 1 day.",
        examples=["2h"],
    )


class VersionsSection(Part):
    """Old versions that are kept for a rollback."""

    keep: Annotated[Whole, Field(le=1000)] = Field(
        default=2, description="How many old versions are kept.", examples=[2]
    )


class TestSection(Part):
    """The isolated environment of `millrace test`."""

    __test__ = False  # not a test class, whatever pytest thinks of its name
    connections: dict[Line, Line] = Field(
        default={},
        description="Connection of this spec: connection that the test uses in its place.",
        examples=[{"mysql_main": "mysql_test", "redis_online": "redis_test"}],
    )


def _as_schedule(value: Any) -> Any:
    if value is None or value == "none":
        return None
    return {"cron": value} if isinstance(value, str) else value


def _schedule_text(schema: dict[str, Any]) -> None:
    schema["anyOf"].insert(0, {"type": "string", "examples": ["0 * * * *", *PRESETS, "none"]})


class SpecShape(Part):
    """One asset: where its rows come from, what is done to them, what must hold, and where they are served from."""

    version: Literal[1] = Field(description="The version of this file format: 1.", examples=[1])
    asset: Name = Field(description="The asset's name.", examples=["user_profile"])
    owner: Line = Field(default="", description="Who answers for the asset.", examples=["growth@example.com"])
    description: Text = Field(default="", description="What one row is, and what for.", examples=["One row a user."])
    business_line: Line = Field(
        default="", description="Groups assets in pools, tags and reports.", examples=["growth"]
    )
    priority: Priority = Field(default=Priority.MEDIUM, description="Which runs and requests go first.")
    schedule: Annotated[ScheduleSection | None, BeforeValidator(_as_schedule)] = Field(
        default=None,
        description="When runs start: a cron line, a preset such as @hourly, `after: [other_asset]`, or none.",
        examples=["0 * * * *", "@daily", {"after": ["plays"]}],
        json_schema_extra=_schedule_text,
    )
    source: Choice = Field(description="The one source that is read.")
    transform: tuple[StepEntry, ...] | None = Field(default=None, description="What is done to the rows, step by step.")
    checks: tuple[CheckEntry, ...] | None = Field(default=None, description="What must hold before anything is loaded.")
    targets: Annotated[tuple[Choice, ...], Field(min_length=1, max_length=MAX_TARGETS)] = Field(
        description="The stores that are loaded and served from."
    )
    mode: Mode = Field(
        default=Mode.REPLACE,
        description="`replace`: load a whole new version and switch to it. `merge`: upsert by key into the current "
        "version. `append`: replace one time interval.",
    )
    deletes: ColumnName | None = Field(
        default=None,
        description="With `mode: merge`: a boolean column that is true for rows that go away. It is not stored itself.",
        examples=["is_deleted"],
    )
    latest_by: ColumnName | None = Field(
        default=None,
        description="With `mode: merge`: of rows with equal keys, the one with the greatest value in this column stays,"
        " whichever run brought it. Without it, the one of the latest data interval.",
        examples=["updated_at"],
    )
    limits: LimitsSection = Field(default=LimitsSection(), description="What a run may use.")
    alerts: tuple[AlertEntry, ...] | None = Field(default=None, description="Who is told of what.")
    versions: VersionsSection = Field(default=VersionsSection(), description="Old versions that are kept.")
    apis: tuple[ApiEntry, ...] | None = Field(default=None, description="How applications read the asset.")
    test: TestSection = Field(default=TestSection(), description="The isolated environment of `millrace test`.")


class SourceEntry(Choice):
    """Base of `source`: one connector's name with its options."""

    noun = "source"

    @classmethod
    def unknown(cls, key: str) -> str:
        """The message for a connector that isn't there, or is there in the other role only."""
        other = "target" if cls.noun == "source" else "source"
        if key in connectors():
            return f"'{key}' is a {other} and can't be a {cls.noun}, expected one of {', '.join(cls.names())}"
        return super().unknown(key)

    @classmethod
    def too_many(cls, chosen: list[str]) -> str:
        """The message for a second connector."""
        if cls.noun == "target":
            return super().too_many(chosen)
        return f"several sources, {' and '.join(chosen)}: an asset has exactly one"

    @property
    def options(self) -> Options:
        """The options of the one connector that is given."""
        found: Options = getattr(self, self.one)
        return found


class TargetEntry(SourceEntry):
    """Base of one target: a connector's name with its options, and the target's own `name` beside."""

    noun = "target"
    beside = frozenset({"name"})

    name: Name | None = Field(
        default=None,
        description="The target's name, unique in the spec; by default the connector's.",
        examples=["redis_eu"],
    )


@cache
def spec_shape() -> type[SpecShape]:
    """The spec with the sources and targets of the connectors that are installed."""
    installed = connectors().values()
    source = create_model("Source", __base__=SourceEntry, **_roles(installed, "source"))
    target = create_model("Target", __base__=TargetEntry, **_roles(installed, "target"))
    fields = SpecShape.model_fields
    targets: Any = tuple[target, ...]
    sections: dict[str, Any] = {
        "source": (source, Field(description=fields["source"].description)),
        "targets": (targets, Field(min_length=1, max_length=MAX_TARGETS, description=fields["targets"].description)),
    }
    return create_model("Spec", __base__=SpecShape, __doc__=SpecShape.__doc__, **sections)


def _roles(installed: Any, role: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for connector in installed:
        declared = getattr(connector, role)
        if declared is not None:
            found[connector.name] = (declared.options, optional(connector.summary))
    return found
