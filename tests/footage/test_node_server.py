"""A node's server as other programs see it: health, reflection, addresses, stop."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from nvr.errors import ConfigError, Unauthenticated
from nvr.footage.channel import dial
from nvr.footage.node_server import NodeServer
from nvr.footage.remote import RemoteFootage
from nvr.security.node_key import NodeKey
from nvr.security.tls import TlsFiles, issue_to_folder
from tests.footage.memory import MemoryFootage, memory_world
from tests.footage.serving import MemoryAudit, serve

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def test_health_is_said_for_each_service_until_the_node_stops() -> None:
    async with serve(MemoryFootage(memory_world())) as served:
        health: Any = health_pb2_grpc.HealthStub(served.channel)  # its stubs know no methods
        for service in ("", "nvr.v1.FootageService", "nvr.v1.NodeService"):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == SERVING
        watch = health.Watch(health_pb2.HealthCheckRequest(service="nvr.v1.FootageService"))
        answers = aiter(watch)
        assert (await anext(answers)).status == SERVING
        # The grace is longer than the test may take: a watcher must not use it up.
        stopping = asyncio.create_task(served.server.stop(600))
        assert [answer.status async for answer in answers] == [NOT_SERVING]
        await stopping


async def test_reflection_lists_what_is_served() -> None:
    async with serve(MemoryFootage(memory_world())) as served:
        channel: Any = served.channel  # its stubs are for the channels of threads
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        call = stub.ServerReflectionInfo()
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        answer = await call.read()
        await call.done_writing()
        names = {service.name for service in answer.list_services_response.service}
        assert {"nvr.v1.FootageService", "nvr.v1.NodeService", "grpc.health.v1.Health"} <= names
        assert "nvr.v1.CameraService" not in names


async def test_an_address_in_use_is_a_settings_error() -> None:
    async with serve(MemoryFootage(memory_world())) as served:
        second = NodeServer(MemoryFootage(memory_world()), node="n", audit=MemoryAudit())
        with pytest.raises(ConfigError, match="cannot listen on"):
            second.listen(served.address)
        await second.stop(0)


class TlsNode:
    """A node with TLS, and what a caller needs to reach it."""

    def __init__(self, folder: Path, *, mutual: bool) -> None:
        self.files: dict[str, TlsFiles] = {}
        self.keys: dict[str, NodeKey] = {}
        for name in ("server", "client", "stranger"):
            place = folder / name
            place.mkdir()
            self.keys[name] = NodeKey.load_or_create(place)
            self.files[name] = issue_to_folder(place, self.keys[name], name=name, hosts=["localhost"])
        authorities = self.files["client"].certificate if mutual else None
        server = self.files["server"]
        self.audit = MemoryAudit()
        self.server = NodeServer(
            MemoryFootage(memory_world()),
            node="n",
            audit=self.audit,
            tls=TlsFiles(server.certificate, server.key, authorities),
        )
        self.port = self.server.listen("127.0.0.1:0")

    def dial(self, name: str | None) -> grpc.aio.Channel:
        own = self.files[name] if name else TlsFiles()
        trusted = self.files["server"].certificate
        return dial(f"localhost:{self.port}", TlsFiles(own.certificate, own.key, trusted))


async def test_mutual_tls_names_the_calling_node(tmp_path: Path) -> None:
    node = TlsNode(tmp_path, mutual=True)
    await node.server.start()
    async with node.dial("client") as channel:
        await RemoteFootage(channel).node()
    _, entry, outcome = node.audit.lines[-1]
    assert outcome == "OK"
    assert entry.caller is not None
    assert (entry.caller.kind, entry.caller.name) == ("node", node.keys["client"].id)
    for name in ("stranger", None):
        async with node.dial(name) as channel:
            with pytest.raises(ConnectionError):
                await RemoteFootage(channel, timeout_s=10).node()
    assert len(node.audit.lines) == 1
    await node.server.stop(0)


async def test_tls_without_a_client_certificate_is_anonymous(tmp_path: Path) -> None:
    node = TlsNode(tmp_path, mutual=False)
    await node.server.start()
    async with node.dial(None) as channel:
        with pytest.raises(Unauthenticated, match="does not know you"):
            await RemoteFootage(channel).node()
    assert node.audit.outcomes() == ["UNAUTHENTICATED"]
    await node.server.stop(0)
