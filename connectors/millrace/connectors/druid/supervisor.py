"""Druid's own reading of a Kafka topic, as a spec's option `stream` declares it.

https://druid.apache.org/docs/33.0.0/ingestion/supervisor, https://druid.apache.org/docs/33.0.0/ingestion/kafka-ingestion
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from millrace.connectors.base import Version
from millrace.connectors.druid import layout
from millrace.connectors.druid.link import Link
from millrace.connectors.druid.options import DruidOptions, Stream
from millrace.errors import TargetError
from millrace.spec.types import Column, Kind

_PATH = "/druid/indexer/v1/supervisor"
_MARK = "millrace"
_TIMES = (Kind.TIMESTAMP, Kind.TIMESTAMP_NTZ)


def follow(link: Link, doing: str, version: Version, options: DruidOptions) -> None:
    """Let Druid read what the options say: submit the supervisor when it is another than the one there, or end it.

    One that is as declared is left alone, also when a person has suspended it. Raises TargetError when the datasource
    has a supervisor that millrace did not make.
    """
    name = options.base(version.asset)
    if options.stream is None:
        end(link, doing, version.asset, name)
        return
    wanted = spec(version.asset, name, version.columns, options, options.stream)
    known = link.get(doing, f"{_PATH}/{quote(name, safe='')}")
    if known is not None and _owner(known) != version.asset:
        raise TargetError(
            f"{doing} in {link.endpoint}: the datasource '{name}' has a supervisor that millrace did not make for "
            f"{version.asset}",
            hint="name another `datasource` in the target's options, or end that supervisor",
        )
    if known is None or _digest(known) != _digest(wanted):
        link.post(doing, _PATH, wanted)


def end(link: Link, doing: str, asset: str, name: str) -> str | None:
    """Let Druid stop reading, and hand over what it has read: that stays. The topic; None when nothing is ours.

    Druid keeps the offsets: one that is submitted again goes on from there.
    """
    path = f"{_PATH}/{quote(name, safe='')}"
    known = link.get(doing, path)
    if known is None or _owner(known) != asset:
        return None
    link.post(doing, f"{path}/terminate", {})
    return str(known["spec"]["ioConfig"].get("topic"))


def state(link: Link, doing: str, name: str) -> str | None:
    """What a supervisor does and how far it is behind, for a person; None when there is none."""
    found = link.get(doing, f"{_PATH}/{quote(name, safe='')}/status")
    if found is None:
        return None
    told = found["payload"]
    behind = told.get("aggregateLag")
    lag = "" if behind is None else f", {int(behind):,} messages behind"
    errors = told.get("recentErrors") or []
    wrong = f"; its last error: {str(errors[-1].get('message'))[:200]}" if errors else ""
    return f"reads '{told.get('stream')}' into '{name}': {told.get('detailedState', told.get('state'))}{lag}{wrong}"


def spec(asset: str, name: str, columns: Sequence[Column], options: DruidOptions, stream: Stream) -> dict[str, Any]:
    """The supervisor's spec. Pure. Messages are JSON objects whose members are called as the asset's columns."""
    schema = layout.data_schema(name, columns, options)
    schema["timestampSpec"] = {"column": options.timestamp, "format": "auto"}
    schema["transformSpec"] = {"transforms": _transforms(columns, options)}
    io: dict[str, Any] = {
        "type": "kafka",
        "topic": stream.topic,
        "inputFormat": {"type": "json"},
        "consumerProperties": {**stream.consumer, "bootstrap.servers": stream.brokers},
        "taskCount": stream.tasks,
        "replicas": stream.replicas,
        "taskDuration": _period(stream.task_duration),
        "useEarliestOffset": stream.from_start,
    }
    if stream.late is not None:
        io["lateMessageRejectionPeriod"] = _period(stream.late)
    tuning = {"type": "kafka", "maxRowsPerSegment": options.rows_per_segment, "logParseExceptions": True}
    found = {"type": "kafka", "spec": {"dataSchema": schema, "ioConfig": io, "tuningConfig": tuning}}
    digest = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()
    return {**found, "suspended": False, "context": {_MARK: {"asset": asset, "digest": digest}}}


def _transforms(columns: Sequence[Column], options: DruidOptions) -> list[dict[str, str]]:
    """Times come as ISO text or ms, and are kept in µs as those of a load are."""
    return [
        {
            "type": "expression",
            "name": column.name,
            "expression": f"timestamp_parse({layout.quote(column.name)}) * 1000",
        }
        for column in columns
        if column.type.kind in _TIMES and column.name != options.timestamp
    ]


def _owner(found: Mapping[str, Any]) -> str:
    return str(_mark(found).get("asset", ""))


def _digest(found: Mapping[str, Any]) -> str:
    return str(_mark(found).get("digest", ""))


def _mark(found: Mapping[str, Any]) -> Mapping[str, Any]:
    mark = (found.get("context") or {}).get(_MARK)
    return mark if isinstance(mark, Mapping) else {}


def _period(time: timedelta) -> str:
    return f"PT{int(time.total_seconds())}S"
