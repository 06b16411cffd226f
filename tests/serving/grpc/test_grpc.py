"""gRPC: the same APIs, called by a client that knows only `serving.proto`, over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_tools import protoc

import millrace.serving.grpc
from millrace.serving.grpc.schema import FILE, file_descriptor, message
from millrace.spec.settings import Settings
from tests.connectors.loads import people
from tests.servers.redis import RedisServer
from tests.serving.grpc.running import running
from tests.serving.publishing import Publisher, workspace
from tests.serving.waiting import until

PROTO = Path(millrace.serving.grpc.__file__).parent / "serving.proto"


@contextmanager
def serving(settings: Settings) -> Iterator[grpc.Channel]:
    """A channel to a server of these settings' catalog."""
    with running(settings) as server, grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield channel


@pytest.fixture
def channel(settings: Settings, publisher: Publisher) -> Iterator[grpc.Channel]:
    publisher.publish(people(10, "hello"))
    with serving(settings) as opened:
        yield opened


def call(channel: grpc.Channel, method: str, reply: str, request: Any, timeout: float = 30) -> Any:
    ask = channel.unary_unary(
        f"/millrace.v1.{method}",
        request_serializer=lambda sent: sent.SerializeToString(),
        response_deserializer=message(reply).FromString,
    )
    return ask(request, timeout=timeout)


def test_rows_come_by_key_and_by_many_keys(channel: grpc.Channel) -> None:
    row = call(channel, "Kv/Get", "Row", message("GetRequest")(api="user_profile", key=["7"]))
    assert row.value == b"\x08\x07\x12\x08person 7\x1a\x05hello"
    request = message("MultiGetRequest")(api="user_profile", keys=["3", "99", "7"])
    rows = call(channel, "Kv/MultiGet", "Rows", request)
    assert (rows.version, rows.values[2], list(rows.missing)) == (row.version, row.value, [1])
    assert call(channel, "Kv/Exists", "Existence", message("GetRequest")(api="user_profile", key=["7"])).exists
    assert not call(channel, "Kv/Exists", "Existence", message("GetRequest")(api="user_profile", key=["8888"])).exists


@pytest.mark.parametrize(
    ("api", "key", "code"),
    [
        ("user_profile", ["99"], grpc.StatusCode.NOT_FOUND),
        ("user_profile", ["abc"], grpc.StatusCode.INVALID_ARGUMENT),
        ("user_profile", [], grpc.StatusCode.INVALID_ARGUMENT),
        ("nothing", ["1"], grpc.StatusCode.NOT_FOUND),
    ],
)
def test_what_cannot_be_answered_has_a_status(
    channel: grpc.Channel, api: str, key: list[str], code: grpc.StatusCode
) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        call(channel, "Kv/Get", "Row", message("GetRequest")(api=api, key=key))
    assert raised.value.code() is code


def test_a_deadline_ends_a_call_while_the_store_is_silent(tmp_path: Path, redis_server: RedisServer) -> None:
    with workspace(tmp_path, redis_server.url) as (settings, catalog):
        Publisher(catalog, redis_server.url).publish(people(10))
        with serving(settings) as channel:
            redis_server.pause()
            try:
                with pytest.raises(grpc.RpcError) as raised:
                    call(channel, "Kv/Get", "Row", message("GetRequest")(api="user_profile", key=["1"]), timeout=0.2)
            finally:
                redis_server.resume()
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_answers_larger_than_any_window_come_whole(settings: Settings, publisher: Publisher) -> None:
    publisher.publish([{"id": number, "text": f"{number} " * 20_000} for number in range(30)])
    with serving(settings) as channel:
        rows = call(
            channel, "Kv/MultiGet", "Rows", message("MultiGetRequest")(api="user_profile", keys=map(str, range(30)))
        )
    assert [len(value) > 40_000 for value in rows.values] == [True] * 30
    assert rows.values[29].count(b"29 ") == 20_000


def test_requests_may_be_compressed_and_must_not_be_too_long(channel: grpc.Channel) -> None:
    ask = channel.unary_unary("/millrace.v1.Kv/MultiGet", response_deserializer=message("Rows").FromString)
    request = message("MultiGetRequest")(api="user_profile", keys=["7"] * 900).SerializeToString()
    for compression in (grpc.Compression.Gzip, grpc.Compression.Deflate):
        assert len(ask(request, compression=compression, timeout=30).values) == 900
    for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
        with pytest.raises(grpc.RpcError) as raised:
            ask(b"\x0a" + b"x" * (9 << 20), compression=compression, timeout=30)
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("method", ["Kv/Nothing", "Nothing/Get"])
def test_a_method_that_there_is_not_is_unimplemented(channel: grpc.Channel, method: str) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        channel.unary_unary(f"/millrace.v1.{method}")(b"", timeout=30)
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_call_that_is_cancelled_frees_its_slot(tmp_path: Path, redis_server: RedisServer) -> None:
    with workspace(tmp_path, redis_server.url) as (settings, catalog):
        Publisher(catalog, redis_server.url).publish(people(10))
        with running(settings) as server, grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            request = message("GetRequest")(api="user_profile", key=["1"]).SerializeToString()
            ask = channel.unary_unary("/millrace.v1.Kv/Get")
            redis_server.pause()
            try:
                calls = [ask.future(request, timeout=timeout) for timeout in (None, 60)]
                until(lambda: server.in_flight() == 2)
                for one in calls:
                    one.cancel()
                until(lambda: server.in_flight() == 0)
            finally:
                redis_server.resume()
            assert ask(request, timeout=30)


def test_a_server_that_leaves_finishes_what_it_has_begun(tmp_path: Path, redis_server: RedisServer) -> None:
    with workspace(tmp_path, redis_server.url) as (settings, catalog):
        Publisher(catalog, redis_server.url).publish(people(10))
        with ExitStack() as stack:
            server = stack.enter_context(running(settings))
            channel = stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{server.port}"))
            watched = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            assert next(watched).status == health_pb2.HealthCheckResponse.SERVING
            redis_server.pause()
            try:
                request = message("GetRequest")(api="user_profile", key=["1"]).SerializeToString()
                begun = channel.unary_unary("/millrace.v1.Kv/Get").future(request, timeout=60)
                until(lambda: server.in_flight() == 1)
                leaving = asyncio.run_coroutine_threadsafe(server.server.drain(60), server.loop)
                assert next(watched).status == health_pb2.HealthCheckResponse.NOT_SERVING
                assert not [*watched], "who watches is in the way of leaving"
            finally:
                redis_server.resume()
            assert b"person 1" in begun.result()
            leaving.result(60)
            with pytest.raises(grpc.RpcError) as raised:
                channel.unary_unary("/millrace.v1.Kv/Get")(request, timeout=30)
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


def renamed(channel: grpc.Channel, before: str, after: str) -> Any:
    """A channel for stubs of a service that has another name: its messages are the same."""

    class Renamed:
        def stream_stream(self, method: str, *options: Any, **more: Any) -> Any:
            return channel.stream_stream(method.replace(before, after), *options, **more)

    return Renamed()


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_a_client_without_the_proto_finds_everything_by_reflection(channel: grpc.Channel, version: str) -> None:
    database = ProtoReflectionDescriptorDatabase(renamed(channel, "reflection.v1alpha", f"reflection.{version}"))
    assert {"millrace.v1.Kv", "millrace.v1.Sql", "millrace.v1.Union"} <= set(database.get_services())
    pool = DescriptorPool(database)
    kv = pool.FindServiceByName("millrace.v1.Kv")
    assert [method.name for method in kv.methods] == ["Get", "MultiGet", "Exists", "Scan"]
    for name in database.get_services():
        assert pool.FindServiceByName(name).methods, "what is listed can be described"
    health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service="millrace.v1.Kv"))
    assert health.status == health_pb2.HealthCheckResponse.SERVING


def test_the_proto_file_says_what_the_server_does(tmp_path: Path) -> None:
    out = tmp_path / "described"
    command = ["protoc", f"--proto_path={FILE.rpartition('/')[0]}={PROTO.parent}", f"--descriptor_set_out={out}"]
    assert protoc.main([*command, f"{FILE.rpartition('/')[0]}/{PROTO.name}"]) == 0
    assert FileDescriptorSet.FromString(out.read_bytes()).file[0] == file_descriptor()
