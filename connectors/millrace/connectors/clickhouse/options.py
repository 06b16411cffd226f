"""What a spec says of a ClickHouse target."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pydantic import Field, field_validator, model_validator

from millrace.spec.connector import Mode, Options

_ENGINE = re.compile(r"(?:Replicated|Shared)?(?:Replacing)?MergeTree(?:\(.*\))?", re.DOTALL)
_SETTING = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
_MAX_NAME_BYTES = 150


class ClickHouseOptions(Options):
    """Every version of the asset is a table of its own; a view named as the asset shows the current one."""

    connection: str = Field(
        description="Name of the connection: clickhouse:// (HTTP), clickhouses:// (HTTPS) or `embedded`.",
        examples=["clickhouse_main", "embedded"],
    )
    table: str | None = Field(
        default=None,
        description="Name of the view that readers query, the asset's by default. Versions are `{table}__{version}`.",
        examples=["user_profile"],
    )
    database: str | None = Field(
        default=None,
        description="Database of the tables, of the engine Atomic or Replicated; by default the connection's.",
        examples=["assets"],
    )
    engine: str = Field(
        default="MergeTree",
        description="Table engine: MergeTree or ReplacingMergeTree, with Replicated or Shared before it if you like.",
        examples=["MergeTree", "ReplacingMergeTree(updated_at)"],
    )
    order_by: tuple[str, ...] = Field(
        default=(),
        description="Columns of the sorting key: those that queries filter by, coarse ones first. They hold no nulls.",
        examples=[["day", "path"]],
    )
    primary_key: tuple[str, ...] = Field(
        default=(),
        description="The first columns of `order_by` that are kept in the index; by default all of them.",
        examples=[["day"]],
    )
    partition_by: str | None = Field(
        default=None,
        description="Expression of the partition key. Few partitions: some dozens, not thousands.",
        examples=["toYYYYMM(day)"],
    )
    interval: str | None = Field(
        default=None,
        description="With `mode: append`, the date or timestamp column by which a run's interval is overwritten.",
        examples=["day"],
    )
    ttl: str | None = Field(
        default=None,
        description="Expression of the time at which a row is dropped; it counts from the version's publish on.",
        examples=["day + INTERVAL 90 DAY"],
    )
    settings: Mapping[str, str | int | float | bool] = Field(
        default_factory=dict,
        description="Settings of the tables, as in CREATE TABLE … SETTINGS.",
        examples=[{"index_granularity": 4096}],
    )
    codec: Mapping[str, str] = Field(
        default_factory=dict,
        description="Compression codec by column.",
        examples=[{"time": "Delta, ZSTD(1)"}],
    )
    low_cardinality: tuple[str, ...] = Field(
        default=(),
        description="String columns with at most some ten thousand different values: kept as a dictionary.",
        examples=[["country", "method"]],
    )

    @field_validator("engine")
    @classmethod
    def _engine_keeps_rows(cls, text: str) -> str:
        if not _ENGINE.fullmatch(text):
            raise ValueError(
                f"unknown engine '{text}': use MergeTree or ReplacingMergeTree, with Replicated or Shared before it;"
                " engines that add up or drop rows can't be verified against what was loaded"
            )
        return text

    @field_validator("table")
    @classmethod
    def _table_is_a_name(cls, text: str | None) -> str | None:
        if text is not None and (not text.strip() or any(ord(c) < 32 for c in text)):
            raise ValueError("the table's name is empty, or has control characters in it")
        if text is not None and len(file_name(text)) > _MAX_NAME_BYTES:
            raise ValueError(
                f"the table's name is longer than {_MAX_NAME_BYTES} bytes (3 for each of its special bytes)"
            )
        return text

    @field_validator("settings")
    @classmethod
    def _settings_have_names(cls, settings: Mapping[str, object]) -> Mapping[str, object]:
        for name in settings:
            if not _SETTING.fullmatch(name):
                raise ValueError(f"'{name}' is not the name of a setting, such as index_granularity")
        return settings

    @model_validator(mode="after")
    def _primary_key_begins_the_order(self) -> ClickHouseOptions:
        if self.primary_key != self.order_by[: len(self.primary_key)]:
            raise ValueError(
                f"primary_key {list(self.primary_key)} is not the beginning of order_by {list(self.order_by)}"
            )
        return self

    def refused_in(self, mode: Mode) -> str | None:
        match mode:
            case Mode.APPEND if self.interval is None:
                return "'mode: append' overwrites an interval: name the column of the time with 'interval'"
            case Mode.MERGE if not self.order_by:
                return "'mode: merge' knows rows by their key: name its columns with 'order_by'"
            case Mode.MERGE if "(" in self.engine:
                return "'mode: merge' chooses the engine's arguments itself: leave those of 'engine' out"
        return None

    def referenced_columns(self) -> Mapping[str, Sequence[str]]:
        return {
            "interval": (self.interval,) if self.interval else (),
            "order_by": self.order_by,
            "primary_key": self.primary_key,
            "codec": tuple(self.codec),
            "low_cardinality": self.low_cardinality,
        }

    def table_of(self, asset: str) -> str:
        """The name that readers query."""
        return self.table or asset


def file_name(name: str) -> str:
    """A name as ClickHouse writes it into the names of files, which may have 255 bytes (escapeForFileName.cpp)."""
    return re.sub(rb"[^A-Za-z0-9_]", lambda found: b"%%%02X" % found.group()[0], name.encode()).decode()
