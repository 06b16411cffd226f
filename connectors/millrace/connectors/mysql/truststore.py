"""PEM certificates and keys as the PKCS #12 stores that Java reads."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from millrace.connectors.mysql.endpoint import Endpoint
from millrace.errors import ConfigError

_FOLDERS: list[Path] = []
_PASSWORD = "millrace"  # Java wants one; the folder's permissions are what keeps others out


def store_properties(end: Endpoint) -> Mapping[str, str]:
    """Connector/J's properties for the connection's PEM files; empty when it names none.

    The stores lie in a folder that only this user can read, until this process ends. Executors on other machines don't
    have it: there, trust the CA in Java's own store and leave `ssl-ca` out. Raises ConfigError for a file that can't be
    read.
    """
    if not end.ssl_ca and not end.ssl_cert:
        return {}
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, load_pem_private_key, pkcs12

    folder = _folder()
    lock = BestAvailableEncryption(_PASSWORD.encode())
    found: dict[str, str] = {}
    try:
        if end.ssl_ca:
            authorities = x509.load_pem_x509_certificates(Path(end.ssl_ca).read_bytes())
            trusted = [pkcs12.PKCS12Certificate(c, f"ca{i}".encode()) for i, c in enumerate(authorities)]
            (folder / "trust.p12").write_bytes(pkcs12.serialize_java_truststore(trusted, lock))
            found |= _store("trustCertificateKeyStore", folder / "trust.p12")
        if end.ssl_cert:
            chain = x509.load_pem_x509_certificates(Path(end.ssl_cert).read_bytes())
            key = load_pem_private_key(Path(end.ssl_key).read_bytes(), None)
            own = pkcs12.serialize_key_and_certificates(b"client", key, chain[0], chain[1:], lock)  # type: ignore[arg-type]  # any key of a certificate
            (folder / "client.p12").write_bytes(own)
            found |= _store("clientCertificateKeyStore", folder / "client.p12")
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f"the connection {end.connection} has a certificate or key that can't be read: {error}",
            hint="ssl-ca, ssl-cert and ssl-key are PEM files; a key must not be locked by a password",
        ) from error
    return found


def _store(name: str, path: Path) -> dict[str, str]:
    return {f"{name}Url": path.as_uri(), f"{name}Type": "PKCS12", f"{name}Password": _PASSWORD}


def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="millrace-tls-"))
    if not _FOLDERS:
        atexit.register(_remove_folders)
    _FOLDERS.append(folder)
    return folder


def _remove_folders() -> None:
    for folder in _FOLDERS:
        shutil.rmtree(folder, ignore_errors=True)
