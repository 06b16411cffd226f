"""The gRPC server of one worker, on a port that its siblings listen on too."""

from __future__ import annotations

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from millrace.errors import ConfigError
from millrace.serving.grpc.handlers import handlers
from millrace.serving.grpc.schema import PACKAGE, SERVICES, pool
from millrace.serving.service import Service

MOST_BYTES = 8 << 20


class GrpcServer:
    """Serves one `Service` over gRPC. Made and used in one event loop."""

    def __init__(self, service: Service) -> None:
        self._server = grpc.aio.server(
            options=[("grpc.so_reuseport", 1), ("grpc.max_receive_message_length", MOST_BYTES)]
        )
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = [f"{PACKAGE}.{name}" for name in SERVICES]
        reflection.enable_server_reflection(
            [*names, health.SERVICE_NAME, reflection.SERVICE_NAME], self._server, pool()
        )
        self._names = names
        self._server.add_generic_rpc_handlers(handlers(service))

    async def listen(self, host: str, port: int) -> int:
        """Accept calls; the port. Raises ConfigError when it can't be had."""
        try:
            found: int = self._server.add_insecure_port(f"{host}:{port}")
        except RuntimeError as error:
            raise ConfigError(f"port {port} of {host} can't be served: {error}", hint="choose another one") from error
        await self._server.start()
        for name in self._names:
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        return found

    async def drain(self, timeout_s: float) -> None:
        """Take no new calls; wait for those that run, then cancel them."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(timeout_s)
