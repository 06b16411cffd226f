"""The APIs as a spec writes them: `- kv: {...}`, `- sql: {...}`, `- union: {...}`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, model_validator

from millrace.spec import model
from millrace.spec.shape.fields import (
    Choice,
    ColumnName,
    Columns,
    Expression,
    Line,
    Name,
    Names,
    Part,
    Positive,
    TypeText,
    optional,
    problem,
)
from millrace.spec.templates import places
from millrace.spec.units import Duration, Size


class CacheCompression(StrEnum):
    """How shared answers are compressed; `zstd_dictionary` is zstd with a dictionary trained from such answers."""

    NONE = "none"
    ZSTD = "zstd"
    ZSTD_DICTIONARY = "zstd_dictionary"
    SNAPPY = "snappy"
    GZIP = "gzip"


class Cache(Part):
    """How answers are kept in the serving process. Keys carry the version, so a publish needs no purge."""

    ttl: Duration = Field(description="How long an answer is used.", examples=["30s"])
    size: Positive = Field(default=10_000, description="The most entries that are kept.", examples=[100000])
    stale_while_revalidate: Duration | None = Field(
        default=None,
        description="How long an expired answer is still given while a fresh one is fetched.",
        examples=["5s"],
    )
    stale_on_error: Duration | None = Field(
        default=None, description="How long an expired answer is still given while the store fails.", examples=["10m"]
    )
    negative_ttl: Duration | None = Field(default=None, description="How long 'no such key' is kept.", examples=["5s"])
    shared: Line | None = Field(
        default=None, description="A Redis connection in which all servers share answers.", examples=["redis_cache"]
    )
    compression: CacheCompression = Field(
        default=CacheCompression.NONE, description="Compression of shared answers.", examples=["zstd_dictionary"]
    )
    compress_above: Size = Field(
        default=256, description="Shared answers that are smaller stay as they are.", examples=["1KiB"]
    )
    largest: Size = Field(
        default=1 << 20, description="Larger answers are not shared; before compression.", examples=["1MiB"]
    )


class ApiLimits(Part):
    """What one API may use; a request over a limit is refused with an error that says so."""

    timeout: Duration | None = Field(default=None, description="The longest time for one request.", examples=["50ms"])
    requests_per_second: Positive | None = Field(
        default=None, description="Requests a second over all consumers.", examples=[5000]
    )
    concurrency: Positive | None = Field(
        default=None, description="Requests at the same time in one server.", examples=[64]
    )
    keys: Positive | None = Field(default=None, description="The most keys in one request.", examples=[1000])
    rows: Positive | None = Field(
        default=None, description="The most rows in one answer that is not a stream.", examples=[10000]
    )
    size: Size | None = Field(default=None, description="The largest answer that is not a stream.", examples=["10MiB"])


class KeyRange(Part):
    """A lookup of the row whose interval holds the key, e.g. an IP address to its place."""

    start: ColumnName = Field(description="The column with the first key of the interval.", examples=["ip_from"])
    end: ColumnName = Field(description="The column with the last key of the interval, included.", examples=["ip_to"])

    @model_validator(mode="after")
    def _two_columns(self) -> KeyRange:
        if self.start == self.end:
            raise problem("'start' and 'end' are the same column")
        return self


class _Api(Part):
    name: Name = Field(description="The API's name in its address; unique over all specs.", examples=["user_profile"])
    description: Line = Field(default="", description="One line for those who look for an API.")
    limits: ApiLimits = Field(default=ApiLimits(), description="What the API may use.")
    cache: Cache | None = Field(
        default=None, description="How answers are kept; not kept by default.", examples=[{"ttl": "30s"}]
    )


class KvApi(_Api):
    """Rows by key: get, multi-get, exists."""

    target: Name | None = Field(
        default=None,
        description="The target that answers; by default the first one that can look up keys.",
        examples=["redis"],
    )
    columns: Columns | None = Field(
        default=None, description="The columns that are given; all by default.", examples=[["name", "city"]]
    )
    range: KeyRange | None = Field(default=None, description="Look up by interval instead of by equality.")
    prefix: bool = Field(default=False, description="Allow scans of all keys with a prefix, page by page.")
    default: dict[ColumnName, Any] | None = Field(
        default=None,
        description="The row that is given for any key while the store is away and nothing that is kept may be.",
        examples=[{"city": "unknown"}],
    )


#: Rows that are given instead of a query's answer.
DefaultRows: TypeAlias = list[dict[ColumnName, bool | int | float | str | None]]


class NamedQuery(Part):
    """A query with parameters that consumers call by its name."""

    sql: Expression = Field(description="One SELECT over `input`, the asset's table; parameters are `:name`.")
    parameters: dict[Name, TypeText] = Field(
        default={},
        description="Parameter: type; a list is an array, for `city in (:cities)`.",
        examples=[{"city": "string", "cities": "array<string>"}],
    )
    returns: dict[ColumnName, TypeText] = Field(
        default={},
        description="Types of columns that the query gives, where they are not plain from the text.",
        examples=[{"share": "double"}],
    )
    default: DefaultRows | None = Field(
        default=None,
        description="The rows that are given while the store is away and nothing that is kept may be.",
        examples=[[{"share": 0.0}]],
    )

    @model_validator(mode="after")
    def _same_columns(self) -> NamedQuery:
        check_rows(self.default)
        return self


class SqlApi(_Api):
    """Filters, groups and aggregates over the whole asset."""

    target: Name | None = Field(
        default=None,
        description="The target that answers; by default the first one that can be queried.",
        examples=["clickhouse"],
    )
    source: bool = Field(
        default=False,
        description="Ask the source itself instead of a target: live, without versions, before any transform.",
    )
    columns: Columns | None = Field(default=None, description="The columns that may be used; all by default.")
    functions: Names | None = Field(
        default=None,
        description="The functions that may be used; by default the usual aggregates.",
        examples=[["count", "sum"]],
    )
    queries: dict[Name, NamedQuery] = Field(default={}, description="Queries that are called by name.")
    stream: bool = Field(default=True, description="Allow full retrieval as a stream.")
    default: DefaultRows | None = Field(
        default=None,
        description="The rows that are given for any query without a default of its own while the store is away and"
        " nothing that is kept may be; `[]` for none.",
        examples=[[]],
    )

    @model_validator(mode="after")
    def _one_place(self) -> SqlApi:
        check_rows(self.default)
        if self.source and self.target is not None:
            raise problem("'source' and 'target' exclude each other: an API asks one of them")
        return self


def check_rows(default: DefaultRows | None) -> None:
    """Refuse default rows that are no table: whose columns differ."""
    if default and any(row.keys() != default[0].keys() for row in default):
        raise problem("the rows of 'default' have different columns: write each of them in every row")


class UnionPart(Part):
    """One call of a union."""

    api: Name = Field(description="The API that is called, of this asset or of another.", examples=["user_profile"])
    name: Name | None = Field(default=None, description="The part's name in the answer; by default the API's.")
    input: dict[Line, Any] = Field(
        default={},
        description="What it is called with: `key`, `keys`, `range` or `prefix` of a KV API, or a query of a SQL API;"
        " in it, `{field}` is of the request, and `{part.field}` of an earlier part.",
        examples=[{"key": "{user_id}"}],
    )
    timeout: Duration | None = Field(default=None, description="The longest time for this part.", examples=["20ms"])
    required: bool = Field(default=True, description="Whether the whole answer fails when this part does.")
    default: Any = Field(default=None, description="What stands in the answer when an optional part fails.")


class UnionApi(_Api):
    """Several APIs in one call."""

    mode: Literal["parallel", "series"] = Field(
        default="parallel", description="`parallel`, or `series`, in which a part's output can be a later part's input."
    )
    parts: Annotated[tuple[UnionPart, ...], Field(min_length=1, max_length=32)] = Field(
        description="The calls.", examples=[[{"api": "user_profile", "input": {"key": "{user_id}"}}]]
    )

    @model_validator(mode="after")
    def _distinct_parts(self) -> UnionApi:
        names = [part.name or part.api for part in self.parts]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise problem(f"two parts are named '{twice}': give one of them another 'name'")
        for index, part in enumerate(self.parts):
            self._places_are_before(part, names[:index])
        return self

    def _places_are_before(self, part: UnionPart, before: list[str]) -> None:
        try:
            named = [place for place in places(part.input) if place.part is not None]
        except ValueError as error:
            raise problem(f"the input of '{part.name or part.api}': {error}") from None
        for place in named:
            if self.mode != "series":
                raise problem(f"{place} is of another part, which takes 'mode: series'")
            if place.part not in before:
                raise problem(f"{place} is of no part before '{part.name or part.api}'")


class ApiEntry(Choice):
    """One API over the asset."""

    noun = "API"

    kv: KvApi = optional("Rows by key.", {"name": "user_profile", "cache": {"ttl": "30s"}})
    sql: SqlApi = optional("Queries over the asset.", {"name": "user_segments", "limits": {"rows": 1000}})
    union: UnionApi = optional(
        "Several APIs in one call.", {"name": "user_card", "parts": [{"api": "user_profile"}, {"api": "user_segments"}]}
    )

    @property
    def body(self) -> KvApi | SqlApi | UnionApi:
        chosen: KvApi | SqlApi | UnionApi = getattr(self, self.one)
        return chosen

    def api(self) -> model.Api:
        """The API as the catalog keeps it."""
        return model.Api(self.body.name, self.one, self.body.model_dump(mode="json", exclude_none=True))
