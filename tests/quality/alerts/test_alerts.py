"""Incidents and their alerts, from what happened to what real destinations were sent."""

from __future__ import annotations

import json
import socket
import ssl
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from millrace.catalog import AlertState, Catalog, IncidentRecord
from millrace.errors import ConfigError
from millrace.quality.alerts import CheckFinding, Failure, Happening, NotSent, deliver, report, send_test
from millrace.quality.alerts.delivery import send
from millrace.quality.alerts.mail import as_mail
from millrace.quality.alerts.message import Message, compose
from millrace.spec import Spec, parse_spec
from millrace.spec.connection import Connection, parse_url
from millrace.spec.model import AlertEvent
from tests.core.catalog.life import HandClock
from tests.servers.inbox import mail_box, webhook

ALL = "[check_failed, check_warned, run_failed, late, recovered]"
BAD = CheckFinding(
    "between: {column: age, min: 0, max: 150}",
    "block",
    {"rows": 10, "unexpected": 1},
    "0 ≤ age ≤ 150",
    ({"id": 5, "name": "REDACTED", "age": 200},),
)


class Desk:
    """One asset's alerts on a catalog whose clock the test moves; `urls` are the destinations."""

    def __init__(self, catalog: Catalog, clock: HandClock, **urls: str) -> None:
        self.catalog, self.clock, self.urls = catalog, clock, urls
        self.spec = spec_with("\n".join(f"  - {{on: {ALL}, to: {name}}}" for name in urls))

    def connection(self, name: str) -> Connection:
        return parse_url(name, self.urls[name], "the test")

    def failed(self, *checks: CheckFinding) -> None:
        failure = Failure("check", "CheckFailed", "refused", "mend it")
        report(self.catalog, self.spec, [self.happening(AlertEvent.CHECK_FAILED, failure, checks or (BAD,))], None)

    def broke(self, step: str = "stage") -> None:
        failure = Failure(step, "SourceError", "the table is gone", "bring it back")
        report(self.catalog, self.spec, [self.happening(AlertEvent.RUN_FAILED, failure)], None)

    def published(self, *warned: CheckFinding) -> None:
        happened = [self.happening(AlertEvent.CHECK_WARNED, None, warned)] if warned else []
        report(self.catalog, self.spec, happened, self.happening(AlertEvent.RECOVERED))

    def happening(
        self, event: AlertEvent, failure: Failure | None = None, checks: tuple[CheckFinding, ...] = ()
    ) -> Happening:
        return Happening(
            event, "people", self.clock(), run_id="run1", owner="team@example.com", serving="v1",
            failure=failure, checks=checks, links={"runs": "https://airflow.example.com/people"},
        )  # fmt: skip

    def deliver(self) -> list[str]:
        return [went.error for went in deliver(self.catalog, self.connection, self.clock)]


def spec_with(alerts: str) -> Spec:
    return parse_spec(
        "version: 1\nasset: people\nsource:\n  log: {path: /x, format: json, fields: {id: bigint}}\n"
        'targets:\n  - redis: {connection: store, key: "{id}"}\nalerts:\n' + alerts
    )


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def catalog(tmp_path: Path, clock: HandClock) -> Iterator[Catalog]:
    with Catalog.open(f"sqlite:///{tmp_path / 'catalog.db'}", clock=clock) as opened:
        yield opened


def test_a_failed_check_is_told_with_what_was_observed_expected_and_served(catalog: Catalog, clock: HandClock) -> None:
    with webhook() as hook:
        desk = Desk(catalog, clock, ops=hook.url)
        desk.failed()
        assert desk.deliver() == [""]
    (body,) = hook.bodies
    assert body["subject"] == "people: 1 check refused the data (between)"
    assert body["checks"] == [
        {
            "check": BAD.check,
            "severity": "block",
            "observed": {"rows": 10, "unexpected": 1},
            "expected": "0 ≤ age ≤ 150",
            "sample": [{"id": 5, "name": "REDACTED", "age": 200}],
            "error": None,
        }
    ]
    assert (body["serving"], body["run"], body["links"]) == (
        "v1",
        "run1",
        {"runs": "https://airflow.example.com/people"},
    )
    for words in (
        "observed",
        "expected: 0 ≤ age ≤ 150",
        '"REDACTED"',
        "readers have version v1",
        "what to do: mend it",
    ):
        assert words in body["text"]


def test_one_incident_is_told_once_until_it_changes_or_a_day_has_passed(catalog: Catalog, clock: HandClock) -> None:
    with webhook() as hook:
        desk = Desk(catalog, clock, ops=hook.url)
        for _ in range(3):
            desk.broke()
            clock.advance(3600)
        assert desk.deliver() == [""]
        assert [found.seen for found in catalog.alerts.incidents()] == [3]
        desk.broke("load:redis")
        assert desk.deliver() == [""]
        desk.broke()
        assert desk.deliver() == []
        clock.advance(86_400)
        desk.broke()
        assert desk.deliver() == [""]
    assert [body["seen"] for body in hook.bodies] == [1, 1, 5]
    assert "seen 5 times since" in hook.bodies[-1]["text"]


def test_a_publish_ends_the_incidents_and_tells_it_once(catalog: Catalog, clock: HandClock) -> None:
    with webhook() as hook:
        desk = Desk(catalog, clock, ops=hook.url)
        desk.broke()
        clock.advance(1)
        desk.failed()
        desk.deliver()
        desk.published()
        desk.published()
        desk.deliver()
    assert [body["event"] for body in hook.bodies] == ["run_failed", "check_failed", "recovered"]
    assert [ended["event"] for ended in hook.bodies[-1]["over"]] == ["run_failed", "check_failed"]
    assert catalog.alerts.incidents() == []


def test_a_warning_that_stays_is_told_once_and_recovers_when_it_is_gone(catalog: Catalog, clock: HandClock) -> None:
    other = CheckFinding("not_null: name", "warn")
    with webhook() as hook:
        desk = Desk(catalog, clock, ops=hook.url)
        desk.published(BAD)
        desk.published(BAD)
        desk.published(other)
        desk.published()
        desk.deliver()
    assert [body["event"] for body in hook.bodies] == ["check_warned", "check_warned", "recovered"]


def test_only_those_who_asked_for_an_event_are_told(catalog: Catalog, clock: HandClock) -> None:
    desk = Desk(catalog, clock, ops="http://127.0.0.1:1/")
    desk.spec = spec_with("  - {on: run_failed, to: ops}\n  - {on: [recovered, run_failed], to: boss}")
    desk.failed()
    assert catalog.alerts.list() == []
    desk.broke()
    desk.published()
    made = [(alert.destination, alert.event) for alert in reversed(catalog.alerts.list())]
    assert made == [("ops", "run_failed"), ("boss", "run_failed"), ("boss", "recovered")]


def test_a_destination_that_is_down_gets_its_alerts_when_it_is_back(catalog: Catalog, clock: HandClock) -> None:
    with webhook() as gone:
        pass
    with webhook() as other:
        desk = Desk(catalog, clock, ops=gone.url, chat=other.url)
        desk.broke()
        desk.failed()
        errors = desk.deliver()
        assert [bool(error) for error in errors] == [True, False, False], "the second alert to it isn't even tried"
        assert "can't be reached" in errors[0]
        clock.advance(59)
        assert [bool(error) for error in desk.deliver()] == [True], "that one is tried now, the first one not yet"
        clock.advance(120)
        with webhook(gone.port) as back:
            assert desk.deliver() == ["", ""]
    assert [body["event"] for body in back.bodies] == ["run_failed", "check_failed"]
    assert len(other.bodies) == 2
    assert {alert.state for alert in catalog.alerts.list()} == {AlertState.SENT}


def test_an_alert_is_given_up_after_two_days_or_when_it_is_refused(catalog: Catalog, clock: HandClock) -> None:
    with webhook() as hook:
        desk = Desk(catalog, clock, ops=hook.url)
        hook.status = 503
        desk.broke()
        tries = 0
        while catalog.alerts.list(state=AlertState.WAITING):
            tries += len(desk.deliver())
            clock.advance(1800)
        assert 48 <= tries <= 60
        hook.status = 400
        desk.failed()
        desk.deliver()
    assert [(a.state, a.error) for a in catalog.alerts.list()] == [
        (AlertState.GIVEN_UP, "'ops' at 127.0.0.1 answered 400"),
        (AlertState.GIVEN_UP, "'ops' at 127.0.0.1 answered 503"),
    ]


def test_two_processes_send_an_alert_once(catalog: Catalog, clock: HandClock) -> None:
    desk = Desk(catalog, clock, ops="http://127.0.0.1:1/")
    desk.broke()
    (alert,) = catalog.alerts.due()
    assert catalog.alerts.claim(alert, timedelta(minutes=2))
    assert not catalog.alerts.claim(alert, timedelta(minutes=2))
    assert catalog.alerts.due() == []


def test_a_run_sends_to_its_own_destinations_and_leaves_others_alone(catalog: Catalog, clock: HandClock) -> None:
    with webhook() as hook:
        desk = Desk(catalog, clock, ops=hook.url, chat=hook.url)
        desk.broke()
        went = deliver(catalog, desk.connection, clock, only={"chat"})
    assert [done.alert.destination for done in went] == ["chat"]
    assert [(alert.destination, alert.tries) for alert in catalog.alerts.due()] == [("ops", 0)]


def test_a_removed_asset_takes_its_incidents_and_alerts_along(catalog: Catalog, clock: HandClock) -> None:
    from millrace.catalog import Registration

    catalog.assets.register(Registration("people", "", "text", "d" * 64))
    Desk(catalog, clock, ops="http://127.0.0.1:1/").broke()
    catalog.assets.remove("people")
    assert (catalog.alerts.incidents(), catalog.alerts.list()) == ([], [])


def test_secrets_of_a_destination_stand_in_no_error(catalog: Catalog, clock: HandClock) -> None:
    secret = "hunter2"
    for url in (
        f"http://user:{secret}@127.0.0.1:1/services/{secret}?token={secret}",
        f"slack://127.0.0.1:1/services/{secret}?tls=false",
        f"pagerduty://:{secret}@127.0.0.1:1/{secret}?tls=false",
        f"smtp://user:{secret}@127.0.0.1:1/?to=a@example.com",
        f"pigeon://:{secret}@loft/{secret}",
    ):
        desk = Desk(catalog, clock, ops=url)
        with pytest.raises((NotSent, ConfigError)) as refusal:
            send(desk.connection("ops"), message())
        assert secret not in str(refusal.value)
        assert "'ops'" in str(refusal.value)


def test_a_redirect_is_not_followed() -> None:
    with webhook() as hook:
        hook.status = 302
        with pytest.raises(NotSent, match="answered 302"):
            send(parse_url("ops", hook.url, ""), message())
    assert hook.paths == ["/hook"]


@pytest.mark.parametrize(
    ("login", "header"),
    [(":s%2Fecret", "Bearer s/ecret"), ("me:pass", "Basic bWU6cGFzcw=="), ("", None)],
)
def test_a_webhook_is_logged_in_to(login: str, header: str | None) -> None:
    with webhook() as hook:
        send(parse_url("ops", f"http://{login}@127.0.0.1:{hook.port}/a/b?team=x%20y", ""), message())
    assert hook.paths == ["/a/b?team=x+y"]
    assert hook.headers[0].get("Authorization") == header


def test_slack_is_told_in_words_that_mention_nobody() -> None:
    with webhook() as hook:
        told = message(asset="<!channel> & *bold*")
        send(parse_url("chat", f"slack://127.0.0.1:{hook.port}/services/T/B/X?tls=false", ""), told)
    assert hook.paths == ["/services/T/B/X"]
    assert hook.bodies[0]["text"].startswith("*&lt;!channel&gt; &amp;  bold : the run failed in stage")


def test_pagerduty_gets_one_incident_that_a_recovery_resolves(catalog: Catalog, clock: HandClock) -> None:
    with webhook() as hook:
        desk = Desk(catalog, clock, ops=f"pagerduty://:key@127.0.0.1:{hook.port}?tls=false")
        desk.broke()
        desk.published()
        assert desk.deliver() == ["", ""]
    trigger, resolve = hook.bodies
    assert hook.paths == ["/v2/enqueue"] * 2
    assert (trigger["event_action"], resolve["event_action"]) == ("trigger", "resolve")
    assert trigger["dedup_key"] == resolve["dedup_key"]
    assert trigger["routing_key"] == resolve["routing_key"] == "key"
    assert trigger["payload"]["severity"] == "error"


def test_an_e_mail_reaches_its_readers_with_one_subject_line(catalog: Catalog, clock: HandClock) -> None:
    with mail_box() as box:
        desk = Desk(
            catalog, clock, mail=f"smtp://127.0.0.1:{box.port}/?to=a@example.com,b@example.com&from=m@example.com"
        )
        desk.failed(CheckFinding("not_null: x\r\nBcc: evil@example.com\r\n\r\nbody", "block"))
        assert desk.deliver() == [""]
    assert box.recipients == [["a@example.com", "b@example.com"]]
    (mail,) = box.mails
    assert mail["Subject"] == "[millrace] people: 1 check refused the data (not_null)"
    assert (mail["From"], mail["Bcc"]) == ("m@example.com", None)
    assert "readers have version v1" in mail.get_content()


def test_hostile_text_makes_no_header() -> None:
    hostile = "x\r\nBcc: evil@example.com\n\n<body>\0\u2028" + "long " * 500
    mail = as_mail(parse_url("mail", "smtp://127.0.0.1/?to=a@example.com", ""), message(asset=hostile))
    assert set(mail) & {"Bcc", "bcc"} == set()
    assert len(mail["Subject"]) <= 200
    assert mail["Subject"].isprintable()


def test_a_mail_goes_to_the_owner_when_the_connection_names_nobody() -> None:
    told = message()
    assert as_mail(parse_url("mail", "smtp://127.0.0.1", ""), told)["To"] == "team@example.com"
    with pytest.raises(NotSent, match="no address to send to"):
        as_mail(parse_url("mail", "smtp://127.0.0.1", ""), message(owner="the team"))


def test_a_password_is_not_sent_to_a_mail_server_without_encryption() -> None:
    with mail_box() as box, pytest.raises(NotSent, match="the password is not sent"):
        send(parse_url("mail", f"smtp://me:secret@127.0.0.1:{box.port}/?to=a@example.com", ""), message())
    assert box.mails == []


def test_a_mail_server_is_logged_in_to_over_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with mail_box(tls=context) as box:
        where = f"127.0.0.1:{box.port}/?to=a@example.com&starttls=required&ca_file={tmp_path}/ca.pem"
        send(parse_url("mail", f"smtp://me:s%40cret@{where}", ""), message())
        with pytest.raises(NotSent, match="answered 535"):
            send(parse_url("mail", f"smtp://me:wrong@{where}", ""), message())
    assert len(box.mails) == 1


def test_a_destination_that_never_answers_is_left_to_itself() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        slow = parse_url("ops", f"http://127.0.0.1:{deaf.getsockname()[1]}/", "")
        with pytest.raises(NotSent, match="did not take it within"):
            send(slow, message(), longest_s=0.2)


def test_huge_samples_and_texts_are_cut() -> None:
    rows = tuple({"id": n, "text": "x" * 100_000} for n in range(50))
    checks = tuple(CheckFinding(f"not_null: c{n}", "block", "y" * 100_000, ["z" * 100_000], rows) for n in range(100))
    made = message(checks=checks, error="m" * 1_000_000)
    assert len(made.text) < 100_000
    assert len(json.dumps(made.to_json())) < 200_000
    assert "and 90 more" in made.text
    assert Message.from_json(json.loads(json.dumps(made.to_json()))) == made


def test_a_test_message_says_so() -> None:
    with webhook() as hook:
        sent = send_test("ops", lambda name: parse_url(name, hook.url, ""), datetime(2026, 3, 1, tzinfo=UTC))
    assert hook.bodies[0]["subject"] == sent.subject
    assert "test of the destination 'ops'" in sent.subject


def test_a_notifier_of_ones_own_is_found_by_its_scheme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pigeons.py").write_text(
        "told = []\ndef tell(connection, message):\n"
        "    if connection.host == 'down': raise RuntimeError('no pigeon')\n"
        "    told.append((connection.host, message.subject))\n"
    )
    info = tmp_path / "pigeons-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pigeons\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[millrace.notifiers]\npigeon = pigeons:tell\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    send(parse_url("ops", "pigeon://loft/", ""), message())
    pigeons: Any = sys.modules["pigeons"]
    assert pigeons.told == [("loft", "people: the run failed in stage (SourceError)")]
    with pytest.raises(NotSent, match="the notifier of 'ops' failed: RuntimeError"):
        send(parse_url("ops", "pigeon://down/", ""), message())


def message(
    asset: str = "people", owner: str = "team@example.com", checks: tuple[CheckFinding, ...] = (), error: str = "gone"
) -> Message:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    happening = Happening(
        AlertEvent.RUN_FAILED, asset, at, owner=owner, failure=Failure("stage", "SourceError", error), checks=checks
    )
    return compose(happening, "key", IncidentRecord(asset, "key", "run_failed", "x", 2, at, at, None))
