"""TLS: the server's certificate, read anew when its files change, and what a client trusts."""

from __future__ import annotations

import asyncio
import logging
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from millrace.errors import ConfigError

log = logging.getLogger(__name__)

HTTP, GRPC = "http/1.1", "h2"  # what the two ports speak, in ALPN's words
_HANDSHAKE_S = 10.0
_GOODBYE_S = 60.0  # for a client to take what is left and say goodbye; see `parting`
_LOOK_S = 5.0


@dataclass(frozen=True)
class Files:
    """Files in PEM. `certificate` begins with the server's own, and its chain follows; without a `key` it has that too.

    With a `client_ca` only clients with a certificate of these authorities are let in.
    """

    certificate: str
    key: str = ""
    client_ca: str = ""

    @classmethod
    def of(cls, certificate: str, key: str, client_ca: str) -> Files | None:
        """None without TLS. Raises ConfigError for a part without the whole."""
        if certificate:
            return cls(certificate, key, client_ca)
        if key or client_ca:
            part = "a key" if key else "an authority of clients"
            raise ConfigError(f"{part} is given, but no certificate", hint="give --certificate too, or neither")
        return None

    def context(self, protocol: str) -> ssl.SSLContext:
        """What a socket that speaks this protocol needs. Raises ConfigError that says which file is wrong, and how."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols([protocol])
        _show(context, self.certificate, self.key)
        if self.client_ca:
            _trust(context, self.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def state(self) -> tuple[object, ...]:
        """Something that differs when a file was changed or replaced."""
        found: list[object] = []
        for file in (self.certificate, self.key, self.client_ca):
            try:
                status = Path(file).stat() if file else None
            except OSError:
                status = None
            found.append(status and (status.st_ino, status.st_mtime_ns, status.st_size))
        return tuple(found)


class ServerTls:
    """The certificate that new connections are shown. Made and used in one event loop."""

    def __init__(self, files: Files) -> None:
        """Raises ConfigError when the files don't fit."""
        self._files = files
        self._state = files.state()
        self._current = self._read()
        self._listening = {protocol: self._read_by_turns(protocol) for protocol in self._current}

    def options(self, protocol: str) -> dict[str, Any]:
        """Of `create_server`, once and for all: each connection is shown what is current when it comes."""
        return {
            "ssl": self._listening[protocol],
            "ssl_handshake_timeout": _HANDSHAKE_S,
            "ssl_shutdown_timeout": _GOODBYE_S,
        }

    def renew(self) -> bool:
        """Whether there were new files and they fit. Those that don't are told of, once, and change nothing."""
        state = self._files.state()
        if state == self._state:
            return False
        self._state = state
        try:
            self._current = self._read()
        except ConfigError as error:
            log.error("the server's certificate was not renewed, the one before is used on: %s", error)
            return False
        log.info("the server's certificate was renewed from %s", self._files.certificate)
        return True

    async def keep_renewing(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            self.renew()

    def _read(self) -> dict[str, ssl.SSLContext]:
        return {protocol: self._files.context(protocol) for protocol in (HTTP, GRPC)}

    def _read_by_turns(self, protocol: str) -> ssl.SSLContext:
        context = self._files.context(protocol)

        def turn(link: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _listening: ssl.SSLContext) -> None:
            link.context = self._current[protocol]

        context.sni_callback = turn  # is called for every handshake, a name in it or not
        return context


def trust(ca: str = "", certificate: tuple[str, str] | None = None) -> ssl.SSLContext:
    """What a client trusts: the bundle `ca` in PEM, or what httpx does; and the certificate and key that it shows.

    Raises ConfigError that says which file is wrong, and how.
    """
    import httpx

    if ca:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _trust(context, ca)
    else:
        context = httpx.create_ssl_context()
    if certificate is not None:
        _show(context, *certificate)
    return context


def _trust(context: ssl.SSLContext, ca: str) -> None:
    _check("the bundle of authorities", ca, b"CERTIFICATE")
    try:
        context.load_verify_locations(ca)
    except OSError as error:
        raise ConfigError(f"the bundle of authorities {ca} can't be used: {_reason(error)}") from error


def _show(context: ssl.SSLContext, certificate: str, key: str) -> None:
    _check("the certificate", certificate, b"CERTIFICATE")
    key = key or certificate
    _check("the key", key, b"PRIVATE KEY")

    def no_password() -> str:
        raise ConfigError(f"the key {key} is encrypted", hint=f"decrypt it: openssl pkey -in {key} -out …")

    try:
        context.load_cert_chain(certificate, key, no_password)
    except OSError as error:
        raise ConfigError(
            f"the key {key} doesn't fit the certificate {certificate}: {_reason(error)}",
            hint="in a certificate's file the owner's own comes first, then its chain",
        ) from error


def _check(what: str, file: str, label: bytes) -> None:
    """Raises ConfigError for a file that isn't there, or has no part of this label."""
    try:
        found = Path(file).read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{what} {file} can't be read: {error.strerror}", hint="give the path of a PEM file"
        ) from None
    if label + b"-----" not in found:
        text = label.decode()
        raise ConfigError(f"{what} {file} has no {text}", hint=f"it has to be PEM: -----BEGIN {text}-----")


def _reason(error: OSError) -> str:
    """What OpenSSL says, or the system when the file has gone meanwhile."""
    said = error.reason if isinstance(error, ssl.SSLError) else error.strerror
    return (said or str(error)).replace("_", " ").lower()
