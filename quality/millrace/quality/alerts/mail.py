"""E-mail: `smtp://user:password@host:587/?from=…&to=a@example.com,b@example.com`, `smtps://…` for TLS from the start.

With `smtp`, the connection is encrypted when the server offers STARTTLS; `starttls=required` refuses to go on without,
`starttls=never` doesn't ask. A password is sent unencrypted only with `starttls=never`. `to` is the spec's owner unless
the connection says otherwise.
"""

from __future__ import annotations

from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, getaddresses, make_msgid
from typing import TYPE_CHECKING

from millrace.quality.alerts.destinations import TIMEOUT_S, NotSent
from millrace.quality.alerts.message import Message, one_line
from millrace.spec.connection import Connection

if TYPE_CHECKING:
    import smtplib

_FROM = "millrace@localhost"


def send(connection: Connection, message: Message) -> None:
    """Raises NotSent when the server is away or refuses."""
    import smtplib

    mail = as_mail(connection, message)
    place = f"'{connection.name}' at {connection.host}"
    try:
        with _server(connection) as server:
            server.send_message(mail)
    except smtplib.SMTPResponseException as error:
        raise NotSent(f"{place} answered {error.smtp_code}") from None
    except smtplib.SMTPRecipientsRefused as error:
        raise NotSent(f"{place} refused {', '.join(error.recipients)}") from None
    except (OSError, smtplib.SMTPException) as error:
        raise NotSent(f"{place} can't be reached: {type(error).__name__}: {error}") from None


def as_mail(connection: Connection, message: Message) -> EmailMessage:
    """The e-mail; whatever stands in names and rows, it has these headers only. Raises NotSent without an address."""
    params = connection.params
    to = _addresses(params.get("to") or str(message.data.get("owner") or ""))
    if not to:
        raise NotSent(
            f"'{connection.name}' says no address to send to, and the owner of {message.asset} is none",
            hint="write smtp://…/?to=ops@example.com in the connection",
        )
    mail = EmailMessage(policy=SMTP)
    mail["Subject"] = one_line(f"[millrace] {message.subject}", 200)
    mail["From"] = (_addresses(params.get("from") or params.get("from_email") or "") or [_FROM])[0]
    mail["To"] = ", ".join(to)
    mail["Date"] = formatdate(localtime=False)
    mail["Message-ID"] = make_msgid(domain="millrace")
    mail["X-Millrace-Incident"] = one_line(message.key, 100)
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(_clean(message.text))
    return mail


def _addresses(text: str) -> list[str]:
    found = (address for _, address in getaddresses([one_line(text, 2_000)]))
    return [address for address in found if "@" in address and address.isascii() and address.isprintable()]


def _clean(text: str) -> str:
    return "".join(c if c.isprintable() or c in "\n\t" else "�" for c in text)


def _server(connection: Connection) -> smtplib.SMTP:
    import smtplib
    import ssl

    host, params = connection.host, connection.params
    context = ssl.create_default_context(cafile=params.get("ca_file") or None)
    encrypted = connection.scheme == "smtps"
    if encrypted:
        server: smtplib.SMTP = smtplib.SMTP_SSL(host, connection.port or 465, timeout=TIMEOUT_S, context=context)
    else:
        server = smtplib.SMTP(host, connection.port or 25, timeout=TIMEOUT_S)
    try:
        wish = params.get("starttls", "")
        server.ehlo()
        if not encrypted and wish != "never" and (wish == "required" or server.has_extn("starttls")):
            server.starttls(context=context)
            encrypted = True
        if connection.user:
            _log_in(server, connection, encrypted=encrypted or wish == "never")
    except BaseException:
        server.close()
        raise
    return server


def _log_in(server: smtplib.SMTP, connection: Connection, *, encrypted: bool) -> None:
    if not encrypted:
        raise NotSent(
            f"'{connection.name}' at {connection.host} offers no encryption, so the password is not sent to it",
            hint="use smtps://, or add starttls=never to the connection to send it unencrypted",
        )
    server.login(connection.user, connection.password.value)
