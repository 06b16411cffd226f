"""What Slack and PagerDuty are sent is what their documentation says that they take, whatever a spec or a row holds.

They can't be asked from here. A server answers as they do, by JSON Schemas written from their pages:
https://api.slack.com/messaging/webhooks, https://api.slack.com/changelog/2018-04-truncating-really-long-messages and
https://developer.pagerduty.com/docs/events-api-v2-overview, …/trigger-events.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it has no stubs

from millrace.catalog import IncidentRecord
from millrace.quality.alerts import CheckFinding, Failure, Happening, NotSent, send_test
from millrace.quality.alerts.delivery import send
from millrace.quality.alerts.happening import incident_key
from millrace.quality.alerts.message import Message, compose
from millrace.spec.connection import Connection, parse_url
from millrace.spec.model import AlertEvent
from tests.servers.inbox import Webhook, webhook

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ROUTING_KEY = "0123456789abcdef0123456789abcdef"
EVIL = '<!channel> & *b* `c` "q" \u2028\0 ' + "long " * 2_000
SLACK: Mapping[str, Any] = {
    "type": "object",
    "required": ["text"],
    "additionalProperties": False,
    "properties": {
        # No control sequence may be left, and no escape be cut in two: /reference/surfaces/formatting#escaping
        "text": {"type": "string", "minLength": 1, "maxLength": 40_000, "pattern": r"\A(?:[^<>&]|&(?:amp|lt|gt);)+\Z"}
    },
}
PAGERDUTY: Mapping[str, Any] = {
    "type": "object",
    "required": ["routing_key", "event_action"],
    "additionalProperties": False,
    "properties": {
        "routing_key": {"type": "string", "minLength": 32, "maxLength": 32},
        "event_action": {"enum": ["trigger", "acknowledge", "resolve"]},
        "dedup_key": {"type": "string", "minLength": 1, "maxLength": 255},
        "client": {"type": "string"},
        "client_url": {"type": "string", "pattern": "^https?://"},
        "payload": {
            "type": "object",
            "required": ["summary", "source", "severity"],
            "additionalProperties": False,
            "properties": {
                "summary": {"type": "string", "minLength": 1, "maxLength": 1024},
                "source": {"type": "string", "minLength": 1},
                "severity": {"enum": ["critical", "error", "warning", "info"]},
                "timestamp": {
                    "type": "string",
                    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$",
                },
                "component": {"type": "string"},
                "group": {"type": "string"},
                "class": {"type": "string"},
                "custom_details": {"type": "object"},
            },
        },
        "links": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["href"],
                "additionalProperties": False,
                "properties": {"href": {"type": "string", "pattern": "^https?://"}, "text": {"type": "string"}},
            },
        },
        "images": {"type": "array"},
    },
    "if": {"properties": {"event_action": {"const": "trigger"}}},
    "then": {"required": ["payload"]},
    "else": {"required": ["dedup_key"]},
}
PAGERDUTY_BYTES = 512 * 1024


def judge(hook: Webhook, schema: Mapping[str, Any], took: int) -> None:
    """Let the server answer as the real one does: `took`, or 400 for what its schema or its size limit refuses."""
    Draft202012Validator.check_schema(schema)
    valid = Draft202012Validator(schema)

    def answer(body: Any, size: int) -> int:
        return took if valid.is_valid(body) and size <= PAGERDUTY_BYTES else 400

    hook.judge = answer


def happening(event: AlertEvent, text: str) -> Happening:
    row = {"id": text, "name": text}
    checks = tuple(CheckFinding(f"sql: {n} {text}", "warn", text, text, (row,) * 5, text) for n in range(30))
    return Happening(
        event,
        "people",
        NOW,
        run_id="run1",
        owner=text,
        serving="v1",
        failure=Failure("check", "CheckFailed", text, text) if event is not AlertEvent.RECOVERED else None,
        checks=checks if event in (AlertEvent.CHECK_FAILED, AlertEvent.CHECK_WARNED) else (),
        due=NOW if event is AlertEvent.LATE else None,
        over=tuple(incident(f"key{n}", text) for n in range(3)) if event is AlertEvent.RECOVERED else (),
        links={"data docs": "/srv/millrace/work/_docs/people/run1/index.html", "runs": "https://airflow.example.com"},
    )


def incident(key: str, title: str) -> IncidentRecord:
    return IncidentRecord("people", key, "run_failed", title, 7, NOW, NOW, None)


def messages() -> list[Message]:
    """One of each event, short and hostile, and that of a test."""
    return [
        compose(found, incident_key(found), incident("key", text))
        for text in ("short", EVIL)
        for found in (happening(event, text) for event in AlertEvent)
    ]


def pager(port: int) -> Connection:
    return parse_url("pager", f"pagerduty://:{ROUTING_KEY}@127.0.0.1:{port}?tls=false", "")


def chat(port: int) -> Connection:
    return parse_url("chat", f"slack://127.0.0.1:{port}/services/T000/B000/S000?tls=false", "")


def test_pagerduty_takes_every_alert_and_a_recovery_resolves_each_incident_that_it_has_ended() -> None:
    with webhook() as hook:
        judge(hook, PAGERDUTY, 202)
        for message in messages():
            send(pager(hook.port), message)
        send_test("pager", lambda _: pager(hook.port), NOW)
    assert {header["Content-Type"] for header in hook.headers} == {"application/json"}
    triggers = [body for body in hook.bodies if body["event_action"] == "trigger"]
    assert [body["payload"]["severity"] for body in triggers] == [*["error", "warning", "error", "error"] * 2, "info"]
    assert [body["links"] for body in triggers[:1]] == [[{"href": "https://airflow.example.com", "text": "runs"}]]
    assert triggers[0]["payload"]["custom_details"]["links"]["data docs"].startswith("/srv/"), "no address, but told"
    ends = [body for body in hook.bodies if body["event_action"] == "resolve"]
    assert [body["dedup_key"] for body in ends] == ["key0", "key1", "key2"] * 2


def test_slack_takes_every_alert_and_nobody_is_mentioned() -> None:
    with webhook() as hook:
        judge(hook, SLACK, 200)
        for message in messages():
            send(chat(hook.port), message)
        send_test("chat", lambda _: chat(hook.port), NOW)
    assert len(hook.bodies) == 2 * len(AlertEvent) + 1
    assert {header["Content-Type"] for header in hook.headers} == {"application/json"}


@pytest.mark.parametrize(("scheme", "schema"), [("slack", SLACK), ("pagerduty", PAGERDUTY)])
def test_what_the_real_server_would_refuse_is_refused_and_given_up(scheme: str, schema: Mapping[str, Any]) -> None:
    with webhook() as hook:
        judge(hook, schema, 200)
        other = json.dumps({"hello": 1})
        assert hook.judge is not None
        assert hook.judge(json.loads(other), len(other)) == 400
        where = f"{scheme}://:too-short@127.0.0.1:{hook.port}/?tls=false"
        hook.judge = lambda _body, _size: 400
        with pytest.raises(NotSent, match="answered 400") as refused:
            send(parse_url("ops", where, ""), messages()[0])
    assert refused.value.forever
