"""Turn a PEM bundle of certificate authorities into a Java trust store: truststore.py BUNDLE OUTPUT."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

from cryptography.hazmat.primitives.serialization import BestAvailableEncryption
from cryptography.hazmat.primitives.serialization.pkcs12 import PKCS12Certificate, serialize_java_truststore
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509 import load_pem_x509_certificates

PASSWORD = b"changeit"  # Java asks for one; the content is public


def convert(bundle: bytes) -> bytes:
    """The trust store (PKCS 12) that holds every certificate of `bundle`."""
    authorities = [
        PKCS12Certificate(certificate, f"authority-{number}".encode())
        for number, certificate in enumerate(load_pem_x509_certificates(bundle))
    ]
    return serialize_java_truststore(authorities, BestAvailableEncryption(PASSWORD))


if __name__ == "__main__":
    warnings.simplefilter("ignore", CryptographyDeprecationWarning)  # of odd serial numbers, which are the bundle's
    Path(sys.argv[2]).write_bytes(convert(Path(sys.argv[1]).read_bytes()))
