"""Destinations that take JSON by HTTP POST: webhooks, Slack and PagerDuty's events.

Slack: https://api.slack.com/messaging/webhooks; PagerDuty: https://developer.pagerduty.com/docs/events-api-v2.
A webhook's path may be its secret, so errors name the connection and never the URL.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from millrace.quality.alerts.destinations import TIMEOUT_S, NotSent
from millrace.quality.alerts.message import TEST, Message, cut
from millrace.spec.connection import Connection
from millrace.spec.model import AlertEvent

_SLACK_TEXT = 3_000
_SLACK = "hooks.slack.com"
_PAGERDUTY, _PAGERDUTY_PATH = "events.pagerduty.com", "v2/enqueue"
_OUR_PARAMS = ("tls", "routing_key", "endpoint")
#: Answers that refuse the message itself. All others, a wrong token too, may be another one later.
_REFUSED = (400, 413, 422)
_SEVERITY = {AlertEvent.CHECK_WARNED: "warning", TEST: "info"}


def webhook(connection: Connection, message: Message) -> None:
    """POST the message: its JSON, with `text` beside. A password alone is a bearer token."""
    body = {**message.data, "text": message.text}
    _post(connection, _url(connection), body, _authorization(connection))


def slack(connection: Connection, message: Message) -> None:
    """To a Slack incoming webhook, `slack://hooks.slack.com/services/…`, as plain text that mentions nobody."""
    head, _, rest = message.text.partition("\n")
    text = f"*{_escaped(head.replace('*', ' '))}*\n{_escaped(cut(rest.strip(), _SLACK_TEXT))}"
    _post(connection, _url(connection, tls=True, host=_SLACK), {"text": text})


def pagerduty(connection: Connection, message: Message) -> None:
    """Trigger or resolve, `pagerduty://:<routing key>@events.pagerduty.com`: one incident here is one there."""
    key = connection.password.value or connection.params.get("routing_key", "")
    url = _url(connection, tls=True, host=_PAGERDUTY, path=connection.database or _PAGERDUTY_PATH)
    if message.event == AlertEvent.RECOVERED:
        for ended in message.ends:
            _post(connection, url, {"routing_key": key, "event_action": "resolve", "dedup_key": ended})
        return
    body = {
        "routing_key": key,
        "event_action": "trigger",
        "dedup_key": message.key,
        "payload": {
            "summary": message.subject,
            "source": message.asset,
            "severity": _SEVERITY.get(message.event, "error"),
            "timestamp": message.data["at"],
            "custom_details": dict(message.data),
        },
        "links": [
            {"href": link, "text": name}
            for name, link in message.data["links"].items()
            if link.startswith(("http://", "https://"))  # data docs may be a path, which PagerDuty refuses as a link
        ],
    }
    _post(connection, url, body)


def _escaped(text: str) -> str:
    """Slack reads `<!channel>` and links from these three characters alone."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _url(connection: Connection, *, tls: bool = False, host: str = "", path: str | None = None) -> str:
    """The connection's URL without its login. `host` and `path` stand for what it leaves out.

    `?tls=false` asks a destination that is TLS by its scheme without it, e.g. a proxy on this machine.
    """
    params, place = connection.params, connection.database if path is None else path
    secure = (tls or connection.scheme == "https") and params.get("tls") != "false"
    if connection.scheme == "http" and place in ("http", "https"):  # Airflow keeps the protocol in `schema`
        secure, place = place == "https", params.get("endpoint", "")
    name = host if host and connection.host == "127.0.0.1" and connection.port is None else connection.host
    shown = f"[{name}]" if ":" in name else name
    port = f":{connection.port}" if connection.port else ""
    query = urlencode({k: v for k, v in params.items() if k not in _OUR_PARAMS})
    return f"{'https' if secure else 'http'}://{shown}{port}/{quote(place.lstrip('/'), safe='/:@!$&()*+,;=~')}" + (
        f"?{query}" if query else ""
    )


def _authorization(connection: Connection) -> dict[str, str]:
    user, password = connection.user, connection.password.value
    if password and not user:
        return {"Authorization": f"Bearer {password}"}
    if user:
        login = base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
        return {"Authorization": f"Basic {login}"}
    return {}


def _post(connection: Connection, url: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
    """Raises NotSent, which names neither the URL nor what was answered: both may hold a secret."""
    import http.client
    import urllib.error
    import urllib.request

    class NoRedirect(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any, **__: Any) -> None:
            """A POST that is sent elsewhere would arrive as a GET: the answer 3xx is the error."""

    data = json.dumps(body, ensure_ascii=True).encode()
    sent = {"Content-Type": "application/json", "User-Agent": "millrace", **(headers or {})}
    place = f"'{connection.name}' at {connection.host}"
    try:
        request = urllib.request.Request(url, data, sent, method="POST")
        with urllib.request.build_opener(NoRedirect).open(request, timeout=TIMEOUT_S):
            return
    except urllib.error.HTTPError as error:
        error.close()
        raise NotSent(f"{place} answered {error.code}", forever=error.code in _REFUSED) from None
    except urllib.error.URLError as error:
        raise NotSent(f"{place} can't be reached: {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        raise NotSent(f"{place} did not answer: {type(error).__name__}: {error}") from None
    except ValueError as error:
        raise NotSent(f"{place} has no usable URL: {type(error).__name__}") from None
