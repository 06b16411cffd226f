"""The services that every gRPC server has: health and reflection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from functools import cache, partial
from typing import Any

from millrace.serving.call import Context
from millrace.serving.grpc.methods import Begun, Conversation, Method, Streamed, Trailers, Unary
from millrace.serving.grpc.schema import file_descriptor
from millrace.serving.grpc.statuses import CallFault, Status

HEALTH = "grpc.health.v1.Health"
#: The same messages under two names: of the stable version, and of the one that older clients ask for.
REFLECTION = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")


class Health:
    """`grpc.health.v1.Health`: SERVING for the server and each of its services, until it leaves."""

    def __init__(self, services: Sequence[str]) -> None:
        self._services = {"", *services}
        self._serving = True
        self._changed = asyncio.Event()

    @property
    def methods(self) -> Mapping[str, Method]:
        return {f"/{HEALTH}/Check": Unary(self._check), f"/{HEALTH}/Watch": Streamed(self._watch)}

    def leave(self) -> None:
        """Say NOT_SERVING from now on, to those that watch too."""
        self._serving = False
        self._changed.set()

    def _check(self, data: bytes, _context: Context) -> Begun:
        return partial(self._checked, data), False

    async def _checked(self, data: bytes) -> bytes:
        name = _service(data)
        if name not in self._services:
            raise CallFault(Status.NOT_FOUND, f"there is no service '{name}'")
        return self._answer(name)

    async def _watch(self, data: bytes, _context: Context, _trailers: Trailers) -> AsyncGenerator[bytes, None]:
        name = _service(data)
        if self._serving:
            yield self._answer(name)
            await self._changed.wait()
        yield self._answer(name)

    def _answer(self, name: str) -> bytes:
        from grpc_health.v1.health_pb2 import HealthCheckResponse

        status = HealthCheckResponse.SERVING if self._serving else HealthCheckResponse.NOT_SERVING
        known = name in self._services
        found: bytes = HealthCheckResponse(
            status=status if known else HealthCheckResponse.SERVICE_UNKNOWN
        ).SerializeToString()
        return found


def _service(data: bytes) -> str:
    from google.protobuf.message import DecodeError
    from grpc_health.v1.health_pb2 import HealthCheckRequest

    try:
        name: str = HealthCheckRequest.FromString(data).service
    except DecodeError as error:
        raise CallFault(Status.INVALID_ARGUMENT, f"the request is no HealthCheckRequest: {error}") from None
    return name


def reflection(services: Sequence[str]) -> Mapping[str, Method]:
    """`ServerReflection` of both versions, as gRPC's own package answers it; loaded when somebody asks."""

    async def answer(requests: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        from grpc_reflection.v1alpha import reflection, reflection_pb2

        servicer = reflection.aio.ReflectionServicer([*services, HEALTH, *REFLECTION], described())

        async def parsed() -> AsyncIterator[Any]:
            async for data in requests:
                yield reflection_pb2.ServerReflectionRequest.FromString(data)

        async for reply in servicer.ServerReflectionInfo(parsed(), None):
            yield reply.SerializeToString()

    return {f"/{name}/ServerReflectionInfo": Conversation(answer) for name in REFLECTION}


@cache
def described() -> Any:
    """A descriptor pool of all services, health and reflection among them."""
    from google.protobuf.descriptor_pb2 import FileDescriptorProto
    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.json_format import MessageToJson, Parse
    from grpc_health.v1 import health_pb2
    from grpc_reflection.v1alpha import reflection_pb2

    old, health = (
        FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb) for module in (reflection_pb2, health_pb2)
    )
    stable = Parse(MessageToJson(old).replace("v1alpha", "v1"), FileDescriptorProto())
    found = DescriptorPool()
    for file in (file_descriptor(), health, old, stable):
        found.Add(file)
    return found
