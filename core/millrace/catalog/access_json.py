"""Consumers, tokens, grants and log entries as JSON, for commands and for HTTP. Pure. Times are ISO 8601, in UTC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from millrace.catalog.access_model import AuditEntry, Consumer, Grant, QuotaPeriod, Terms, Token
from millrace.spec.units import parse_duration

#: The keys of a grant's terms.
TERMS = ("columns", "rows", "rate", "quota", "expires")


def consumer_json(consumer: Consumer) -> dict[str, Any]:
    return {
        "consumer": consumer.name,
        "priority": str(consumer.priority),
        "owner": consumer.owner,
        "description": consumer.description,
        "created": _text(consumer.created_at),
        "disabled": _text(consumer.disabled_at),
    }


def token_json(token: Token) -> dict[str, Any]:
    """Without anything of the secret."""
    return {
        "token": token.id,
        "created": _text(token.created_at),
        "expires": _text(token.expires_at),
        "revoked": _text(token.revoked_at),
    }


def grant_json(grant: Grant) -> dict[str, Any]:
    terms = grant.terms
    return {
        "grant": grant.id,
        "consumer": grant.consumer,
        "api": grant.api,
        "state": str(grant.state),
        "columns": None if terms.columns is None else list(terms.columns),
        "rows": terms.row_filter,
        "rate": terms.requests_per_second,
        "quota": f"{terms.quota}/{terms.quota_period}" if terms.quota else None,
        "expires": _text(terms.expires_at),
        "purpose": grant.purpose,
        "reason": grant.reason,
        "requested": _text(grant.requested_at),
        "requested_by": grant.requested_by,
        "decided": _text(grant.decided_at),
        "decided_by": grant.decided_by,
    }


def audit_json(entry: AuditEntry) -> dict[str, Any]:
    return {
        "entry": entry.id,
        "at": _text(entry.at),
        "actor": entry.actor,
        "action": entry.action,
        "consumer": entry.consumer,
        "api": entry.api,
        "details": dict(entry.details),
    }


def read_terms(given: Mapping[str, Any], now: datetime) -> Terms | None:
    """A grant's terms from what is given of `TERMS`; None when nothing is. Raises ValueError that says what is wrong.

    `columns` is a list of names, `rows` a condition as in a query's `where`, `rate` a number, `quota` a text such as
    `100000/day`, `expires` a duration such as `90d`.
    """
    if all(given.get(key) is None for key in TERMS):
        return None
    quota, period = read_quota(given.get("quota"))
    return Terms(
        _columns(given.get("columns")), _condition(given.get("rows")), _rate(given.get("rate")), quota, period,
        read_expiry(given.get("expires"), now),
    )  # fmt: skip


def read_quota(text: Any) -> tuple[int | None, QuotaPeriod | None]:
    """`100000/day` as its parts; None for none. Raises ValueError."""
    if text is None:
        return None, None
    number, _, period = str(text).replace("_", "").replace(",", "").partition("/")
    if not number.strip().isdecimal() or period.strip() not in list(QuotaPeriod):
        raise ValueError(f"'{text}' is no quota; expected e.g. 100000/day, and hour, day or month")
    return int(number), QuotaPeriod(period.strip())


def read_expiry(text: Any, now: datetime) -> datetime | None:
    """When something ends that lasts so long from now; None for ever. Raises ValueError."""
    return None if text is None else now + parse_duration(str(text))


def _columns(given: Any) -> tuple[str, ...] | None:
    if given is None:
        return None
    if isinstance(given, str) or not isinstance(given, Sequence) or not all(isinstance(name, str) for name in given):
        raise ValueError("'columns' is a list of names")
    return tuple(given)


def _condition(given: Any) -> Mapping[str, Any] | None:
    if given is not None and not isinstance(given, Mapping):
        raise ValueError('\'rows\' is a condition, e.g. {"column": "city", "eq": "berlin"}')
    return given


def _rate(given: Any) -> int | None:
    if given is not None and (not isinstance(given, int) or isinstance(given, bool)):
        raise ValueError("'rate' is a whole number of requests a second")
    return given


def _text(time: datetime | None) -> str | None:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}" if time else None
