"""A topic's plan: which offsets of which partition, and which columns; asked of the brokers, without a JVM."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from millrace.connectors.base import PlanRequest, SourcePlan, Window
from millrace.connectors.kafka.client import Client, Topic, partition_list
from millrace.connectors.kafka.columns import columns_of_file, read_schema_file
from millrace.connectors.kafka.infer import infer_schema
from millrace.connectors.kafka.offsets import Ends, Lost, Offsets, Selection, Watermark, between, since, split
from millrace.connectors.kafka.options import METADATA, RAW_COLUMNS, Interval, KafkaOptions, LostOffsets, MessageFormat
from millrace.errors import SourceError
from millrace.spec.diagnostics import listed
from millrace.spec.types import Column, column

_SAMPLED_MESSAGES = 2000


@dataclass(frozen=True)
class Found:
    """What a plan starts from: the topic as it is, what it holds, and what published runs have taken of it."""

    topic: Topic
    ends: Ends
    watermark: Watermark | None


def plan_topic(client: Client, options: KafkaOptions, request: PlanRequest) -> SourcePlan:
    """The frozen plan of a run. Raises SourceError for messages or a topic that are gone, as `lost_offsets` says."""
    topic = client.topic(options.topic)
    ends = client.ends(topic)
    notes: list[str] = []
    before = Watermark.from_json(request.watermark)
    watermark = _same_topic(options, topic, before, notes)
    found = Found(topic, ends, watermark)
    if options.read is Interval.DATA_INTERVAL:
        selection = _by_time(client, found, request.window, notes)
    else:
        selection = since(watermark, ends, options.first, options.max_messages)
    _judge(options, selection, notes)
    schema = _schema(client, options, found, before, request, notes)
    splits = split(selection.ranges, request.channels)
    by_time = options.read is Interval.DATA_INTERVAL
    inferred = schema.columns if schema.inferred else ()
    watermark = _advanced(found, selection, request.window.end if by_time else None, inferred)
    return SourcePlan(
        columns=(*schema.columns, *(METADATA[name] for name in options.metadata)),
        splits=tuple(s.to_json() for s in splits),
        estimated_rows=selection.size,
        watermark=watermark.to_json(),
        details={
            "topic": topic.name,
            "topic_id": topic.id,
            "ranges": [r.to_json() for r in selection.ranges],
            "not_before": _text(request.window.start) if by_time else None,
            "schema_file": schema.file_text,
        },
        notes=tuple(notes),
    )


@dataclass(frozen=True)
class Schema:
    """The columns of the values; the schema file's content in base64, if they come from one; or inferred, once."""

    columns: tuple[Column, ...]
    file_text: str = ""
    inferred: bool = False


def _same_topic(options: KafkaOptions, topic: Topic, watermark: Watermark | None, notes: list[str]) -> Watermark | None:
    """The watermark, if it is of this very topic. One of another name is of another source: it doesn't count."""
    if watermark is None:
        return None
    if watermark.topic != topic.name:
        notes.append(f"the source was the topic {watermark.topic}; of {topic.name} nothing has been read yet")
        return None
    if not topic.id or not watermark.topic_id or watermark.topic_id == topic.id:
        return watermark
    what = f"the topic {topic.name} was deleted and made again (its id was {watermark.topic_id} and is {topic.id})"
    if options.lost_offsets is LostOffsets.FAIL:
        raise SourceError(
            f"planning the read of {topic.name}: {what}; messages of the old one may never have been read",
            hint="set `lost_offsets: skip` for a run, to read the new topic from its start",
        )
    notes.append(f"{what}: it is read from its start")
    return None


def _by_time(client: Client, found: Found, window: Window, notes: list[str]) -> Selection:
    start, end = window.start, window.end
    if start is None or end is None:
        raise SourceError(
            f"planning the read of {found.topic.name}: `read: data_interval` needs a run with an interval",
            hint="run it with --start and --end, or by a schedule; or set `read: since_publish`",
        )
    first = client.offsets_at(found.topic, start, found.ends.after)
    last = client.offsets_at(found.topic, end, found.ends.after)
    cut = [p for p in sorted(first) if 0 < found.ends.first[p] == first[p]]
    if cut:
        notes.append(f"{partition_list(cut)} may have lost older messages of the interval to retention")
    return between(first, last, _lost_before(found, start))


def _lost_before(found: Found, start: datetime) -> list[Lost]:
    """Messages between the newest published interval and this one that are gone."""
    watermark = found.watermark
    if watermark is None or watermark.until is None or start < datetime.fromisoformat(watermark.until):
        return []
    first = found.ends.first
    return [Lost(p, n, first[p]) for p, n in sorted(watermark.next.items()) if n < first.get(p, 0)]


def _judge(options: KafkaOptions, selection: Selection, notes: list[str]) -> None:
    """Raise for what `lost_offsets` doesn't allow, and note what it does."""
    problems: list[str] = []
    if selection.lost:
        problems.append(f"messages are gone that no published run has read ({listed(map(str, selection.lost))})")
    if selection.beyond:
        problems.append(f"{partition_list(selection.beyond)} ends before what was read of it: messages were undone")
    if selection.gone:
        problems.append(f"{partition_list(selection.gone)} is there no more")
    if problems and options.lost_offsets is LostOffsets.FAIL:
        raise SourceError(
            f"planning the read of {options.topic}: {'; '.join(problems)}",
            hint="set `lost_offsets: skip` to go on with what there is; longer retention keeps it from happening again",
        )
    notes += [f"{problem}: going on with what there is" for problem in problems]
    if selection.added:
        notes.append(f"{partition_list(selection.added)} came since the last published run: read from the start")


def _schema(
    client: Client,
    options: KafkaOptions,
    found: Found,
    before: Watermark | None,
    request: PlanRequest,
    notes: list[str],
) -> Schema:
    """The columns of the values. What an earlier run has inferred stays, whatever the messages look like now."""
    if options.format is MessageFormat.RAW:
        return Schema(RAW_COLUMNS)
    if options.schema_file:
        data = read_schema_file(options.schema_file, request.spark)
        return Schema(columns_of_file(options, data), b64encode(data).decode())
    if options.row_schema is not None:
        return Schema(tuple(Column(name, field.type) for name, field in options.row_schema.items()))
    if before is not None and before.schema and before.topic == options.topic:
        return Schema(tuple(column(name, type_) for name, type_ in before.schema.items()), inferred=True)
    columns = infer_schema(client.sample(found.topic, found.ends, _SAMPLED_MESSAGES), options.topic)
    notes.append(f"the schema was inferred from messages, and is kept: {', '.join(map(str, columns))}")
    return Schema(columns, inferred=True)


def _advanced(found: Found, selection: Selection, until: datetime | None, inferred: Sequence[Column]) -> Watermark:
    """The watermark after this run's publish. A run of an old interval moves nothing back."""
    before = found.watermark
    following: Offsets = {r.partition: r.end for r in selection.ranges}
    newest = until.isoformat() if until else None
    if until is not None and before is not None:
        following = {p: max(offset, before.next.get(p, 0)) for p, offset in following.items()}
        if before.until is not None and until < datetime.fromisoformat(before.until):
            newest = before.until
    schema: Mapping[str, str] | None = {c.name: str(c.type) for c in inferred} or None
    return Watermark(found.topic.name, found.topic.id, following, newest, schema)


def _text(time: datetime | None) -> str | None:
    return time.isoformat() if time else None
