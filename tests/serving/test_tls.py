"""TLS on both ports: certificates of servers and clients, renewed ones, and those that can't be used."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from millrace.errors import ConfigError, TransientError
from millrace.serving import connect
from millrace.serving.grpc.schema import message
from millrace.serving.tls import Files, ServerTls
from millrace.spec.settings import Settings
from tests.connectors.loads import people
from tests.serving.grpc.running import running
from tests.serving.grpc.test_grpc import call
from tests.serving.http.running import Running, serving
from tests.serving.publishing import Publisher
from tests.serving.test_serve import millrace_serve

HOST = "127.0.0.1"
KEY = 7


class Authority:
    """A private authority: its bundle, and certificates of it in files."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder, self._authority = folder, trustme.CA()
        self.ca = str(folder / "ca.pem")
        self._authority.cert_pem.write_to_path(self.ca)

    def issue(self, name: str) -> tuple[str, str]:
        """A certificate for this machine, and its key. Those of the same name before are replaced."""
        made = self._authority.issue_cert(HOST, "localhost")
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate.write_bytes(b"".join(part.bytes() for part in made.cert_chain_pems))
        made.private_key_pem.write_to_path(str(key))
        return str(certificate), str(key)

    def trusted(self, certificate: tuple[str, str] | None = None) -> ssl.SSLContext:
        found = ssl.create_default_context(cafile=self.ca)
        if certificate is not None:
            found.load_cert_chain(*certificate)
        return found


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def published(settings: Settings, publisher: Publisher) -> Settings:
    publisher.publish(people(10))
    return settings


@pytest.fixture
def server(published: Settings, authority: Authority) -> Iterator[Running]:
    with serving(published, tls=ServerTls(Files(*authority.issue("server")))) as found:
        yield found


def test_one_setting_makes_both_ports_speak_tls(published: Settings, authority: Authority) -> None:
    certificate, key = authority.issue("server")
    options = ("--certificate", certificate, "--key", key, "--grpc-port", "0")
    with millrace_serve(published, *options) as (process, url, address):
        assert url.startswith("https://")
        assert httpx.get(f"{url}/v1/kv/user_profile/{KEY}", verify=authority.trusted()).json()["id"] == KEY
        credentials = grpc.ssl_channel_credentials(Path(authority.ca).read_bytes())
        with grpc.secure_channel(address.removeprefix("grpc://"), credentials) as channel:
            assert asked(channel).startswith(b"\x08\x07")
        process.terminate()
        assert process.wait(60) == 0


def asked(channel: grpc.Channel) -> bytes:
    """A row's bytes."""
    value: bytes = call(channel, "Kv/Get", "Row", message("GetRequest")(api="user_profile", key=[str(KEY)])).value
    return value


def test_the_library_trusts_the_bundle_that_it_is_given_and_no_other(server: Running, authority: Authority) -> None:
    with connect(server.url, ca=authority.ca) as client:
        rows = client.kv("user_profile")
        row = rows.get(KEY)
        assert row is not None
        assert row["id"] == KEY
        assert rows.multi_get([KEY, 99])[1] is None
    with connect(server.url) as client, pytest.raises(ConfigError, match="not trusted") as refused:
        client.kv("user_profile")
    assert "ca=" in refused.value.hint


def test_who_speaks_no_tls_is_hung_up_on_and_disturbs_nobody(server: Running, authority: Authority) -> None:
    plain = server.url.replace("https", "http")
    with pytest.raises(httpx.TransportError):
        httpx.get(plain)
    with connect(plain) as client, pytest.raises(TransientError, match="can't be reached"):
        client.kv("user_profile")
    with server.client(verify=authority.trusted()) as client:
        assert client.get("/livez").status_code == 200


def test_each_port_says_what_it_speaks(published: Settings, server: Running, authority: Authority) -> None:
    tls = ServerTls(Files(*authority.issue("other")))
    with running(published, tls=tls) as rpc:
        for port, protocol in ((server.port, "http/1.1"), (rpc.port, "h2")):
            trusted = authority.trusted()
            trusted.set_alpn_protocols(["h2", "http/1.1"])
            with (
                socket.create_connection((HOST, port)) as link,
                trusted.wrap_socket(link, server_hostname=HOST) as tls_,
            ):
                assert tls_.selected_alpn_protocol() == protocol


def test_a_renewed_certificate_is_shown_to_who_comes_next(published: Settings, authority: Authority) -> None:
    files = Files(*authority.issue("server"))
    tls = ServerTls(files)
    with serving(published, tls=tls) as server, server.client(verify=authority.trusted()) as before:
        assert before.get("/livez").status_code == 200
        first = shown(server.port)
        assert not tls.renew()
        Path(files.certificate).write_text("half of a certifi")
        assert not tls.renew()
        assert shown(server.port) == first
        authority.issue("server")
        assert tls.renew()
        assert shown(server.port) != first
        assert before.get("/livez").status_code == 200


def shown(port: int) -> str:
    return ssl.get_server_certificate((HOST, port))


def test_clients_without_a_certificate_stay_out_where_one_is_asked_for(
    published: Settings, authority: Authority, tmp_path: Path
) -> None:
    others = Authority(tmp_path / "others")
    tls = ServerTls(Files(*authority.issue("server"), client_ca=others.ca))
    shop = others.issue("shop")
    bundle, certificate, key = (Path(file).read_bytes() for file in (authority.ca, *shop))
    with serving(published, tls=tls) as server, running(published, tls=tls) as rpc:
        with connect(server.url, ca=authority.ca, certificate=shop) as client:
            assert client.kv("user_profile").exists(KEY)
        with server.client(verify=authority.trusted()) as nobody, pytest.raises(httpx.TransportError):
            nobody.get("/livez")
        for shown_, fine in (((key, certificate), True), ((None, None), False)):
            credentials = grpc.ssl_channel_credentials(bundle, *shown_)
            with grpc.secure_channel(f"{HOST}:{rpc.port}", credentials) as channel:
                if fine:
                    assert asked(channel)
                else:
                    with pytest.raises(grpc.RpcError):
                        asked(channel)


def test_a_server_that_leaves_does_not_wait_for_idle_clients(published: Settings, authority: Authority) -> None:
    tls = ServerTls(Files(*authority.issue("server")))
    with serving(published, tls=tls) as server, server.client(verify=authority.trusted()) as client:
        assert client.get("/livez").status_code == 200
        parted = asyncio.run_coroutine_threadsafe(server.server.drain(600), server.loop)
        parted.result(30)


def test_answers_that_are_due_come_whole_while_the_server_leaves(
    settings: Settings, publisher: Publisher, authority: Authority
) -> None:
    publisher.publish([{"id": number, "text": f"{number} " * 20_000} for number in range(100)])
    asked = b"POST /v1/kv/user_profile:mget HTTP/1.1\r\nhost: t\r\ncontent-length: 300\r\n\r\n"
    body = b'{"keys": [%b]}' % b", ".join(b"%d" % number for number in range(60))
    tls = ServerTls(Files(*authority.issue("server")))
    with serving(settings, tls=tls) as server, socket.create_connection((HOST, server.port)) as plain:
        link = authority.trusted().wrap_socket(plain, server_hostname=HOST)
        link.sendall(asked + body.ljust(300))
        first = link.recv(1)
        parted = asyncio.run_coroutine_threadsafe(server.server.drain(600), server.loop)
        answer = first + b"".join(iter(lambda: link.recv(1 << 20), b""))
        parted.result(60)
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert b"content-length: %d" % len(rest) in head
    assert len(rest) > 3_000_000


def encrypted(key: str) -> str:
    plain = load_pem_private_key(Path(key).read_bytes(), None)
    sealed = plain.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    Path(f"{key}.enc").write_bytes(sealed)
    return f"{key}.enc"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda files, _: {**files, "certificate": "/nowhere/server.pem"},
            r"/nowhere/server.pem can't be read: No such",
        ),
        (lambda files, _: {**files, "key": "/nowhere/server.key"}, r"/nowhere/server.key can't be read: No such"),
        (lambda files, _: {**files, "certificate": files["key"]}, r"server.key has no CERTIFICATE"),
        (lambda files, _: {**files, "key": ""}, r"server.pem has no PRIVATE KEY"),
        (lambda files, other: {**files, "key": other}, r"other.key doesn't fit the certificate .*server.pem"),
        (lambda files, _: {**files, "key": encrypted(files["key"])}, r"server.key.enc is encrypted"),
        (lambda files, _: {**files, "client_ca": files["key"]}, r"authorities .*server.key has no CERTIFICATE"),
        (lambda files, _: {**files, "certificate": ""}, r"a key is given, but no certificate"),
    ],
)
def test_files_that_can_not_be_used_are_named_with_what_is_wrong(authority: Authority, change: Any, said: str) -> None:
    certificate, key = authority.issue("server")
    _, other = authority.issue("other")
    files = change({"certificate": certificate, "key": key, "client_ca": ""}, other)
    with pytest.raises(ConfigError, match=said) as refused:
        ServerTls(Files.of(**files))  # type: ignore[arg-type]  # never None here
    assert refused.value.hint
