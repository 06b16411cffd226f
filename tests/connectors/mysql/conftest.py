"""Servers that only MySQL's tests need."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.servers.mariadb import MariaDb


@pytest.fixture(scope="module")
def tls() -> Iterator[tuple[MariaDb, Path]]:
    """A server that speaks only TLS, and the folder with its CA and a client's certificate."""
    folder = Path(tempfile.mkdtemp(prefix="millrace-tls-test-"))
    folder.chmod(0o755)  # the server runs as another user
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    server, client = authority.issue_cert("127.0.0.1", "localhost"), authority.issue_cert("client@example.com")
    for name, issued in (("server", server), ("client", client)):
        issued.cert_chain_pems[0].write_to_path(str(folder / f"{name}.pem"))
        issued.private_key_pem.write_to_path(str(folder / f"{name}.key"))
        (folder / f"{name}.key").chmod(0o644)
    settings = {"ssl-ca": "ca.pem", "ssl-cert": "server.pem", "ssl-key": "server.key"}
    with MariaDb({name: str(folder / file) for name, file in settings.items()}) as running:
        database = running.new_database()
        database.execute("CREATE TABLE users (id INT PRIMARY KEY)")
        database.execute("INSERT INTO users VALUES (1)")
        running.execute("CREATE USER 'x509'@'%' IDENTIFIED BY 'secret' REQUIRE X509")
        running.execute("GRANT SELECT ON *.* TO 'x509'@'%'")
        yield running, folder
    shutil.rmtree(folder)
