"""A fake collector: answers as a test scripts it, and keeps the ledger of what it accepted."""

from __future__ import annotations

import asyncio
import gzip
from collections import deque
from collections.abc import Callable
from typing import Any

import grpc
from aiohttp import web
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)

LOGS = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"


def uids(body: bytes) -> list[str]:
    """log.record.uid of every record in a request."""
    request = ExportLogsServiceRequest.FromString(body)
    return [
        a.value.string_value
        for resource in request.resource_logs
        for scope in resource.scope_logs
        for record in scope.log_records
        for a in record.attributes
        if a.key == "log.record.uid"
    ]


def partial(rejected: int, message: str = "") -> bytes:
    answer = ExportLogsServiceResponse()
    answer.partial_success.rejected_log_records = rejected
    answer.partial_success.error_message = message
    return answer.SerializeToString()


def retry_info(seconds: float) -> bytes:
    entry = AnyMessage()
    entry.Pack(RetryInfo(retry_delay=Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))))
    return bytes(Status(code=14, details=[entry]).SerializeToString())


class GrpcFake:
    """`script` holds what to do with the next requests: (code, message, details) aborts,
    bytes answer. Empty: accept."""

    def __init__(self, max_bytes: int = 4 << 20) -> None:
        self.script: deque[Any] = deque()
        self.accepted: list[str] = []
        self.requests = 0
        self.metadata: list[dict[str, str]] = []
        self._max_bytes = max_bytes
        self._server: grpc.aio.Server | None = None
        self.port = 0

    async def start(self, port: int = 0, credentials: grpc.ServerCredentials | None = None) -> None:
        self._server = grpc.aio.server(
            options=[("grpc.max_receive_message_length", self._max_bytes), ("grpc.so_reuseport", 0)]
        )
        handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(
            self._export
        )
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(LOGS.split("/")[1], {"Export": handler}),)
        )
        address = f"localhost:{port}"
        self.port = (
            self._server.add_secure_port(address, credentials)
            if credentials
            else self._server.add_insecure_port(address)
        )
        await self._server.start()

    async def _export(self, body: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        self.requests += 1
        self.metadata.append({k: str(v) for k, v in context.invocation_metadata() or ()})
        action = self.script.popleft() if self.script else b""
        if isinstance(action, tuple):
            code, message, details = action
            if details:
                context.set_trailing_metadata((("grpc-status-details-bin", details),))
            await context.abort(code, message)
        self.accepted += uids(body)
        return bytes(action)

    async def stop(self) -> None:
        if self._server:
            await self._server.stop(0)
            self._server = None


class HttpFake:
    """The same over HTTP: (status, headers, body) in the script, or a callable that makes the
    response."""

    def __init__(self, max_bytes: int = 20 << 20) -> None:
        self.script: deque[tuple[int, dict[str, str], bytes] | Callable[[], web.StreamResponse]] = (
            deque()
        )
        self.accepted: list[str] = []
        self.requests = 0
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self._max_bytes = max_bytes
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self, port: int = 0, ssl_context: Any = None) -> None:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_post("/{path:.*}", self._export)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "localhost", port, ssl_context=ssl_context)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _export(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        self.headers.append(dict(request.headers))
        self.paths.append(request.path)
        body = await request.read()  # aiohttp has undone the gzip
        if body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        if self.script:
            action = self.script.popleft()
            if callable(action):
                return action()
            status, headers, answer = action
            if status == 200 and headers.get("Content-Type") == "application/x-protobuf":
                self.accepted += uids(body)
            return web.Response(status=status, headers=headers, body=answer)
        if len(body) > self._max_bytes:
            return web.Response(status=413)
        self.accepted += uids(body)
        return web.Response(content_type="application/x-protobuf", body=b"")

    async def stop(self) -> None:
        if self._runner:
            await self._runner.cleanup()
            self._runner = None


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Waits for a condition without a fixed sleep; fails when it never comes."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
