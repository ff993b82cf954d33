"""OTLP by gRPC: the server of the gRPC core, with its bounds.

The core accepts connections itself: GRPC_BYTES per message, GRPC_STREAMS per connection, and
GRPC_CONNECTIONS. Above the limit, new connections are refused; the core cannot close the oldest one
for a new one, and has no call by which we could. So each connection ends after GRPC_AGE_SECONDS,
and an idle one after GRPC_IDLE_SECONDS; a sender connects again. A client that takes every place
that becomes free can keep others out: keep the port within the cluster, or use client_ca.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from weakref import WeakValueDictionary

import grpc
from google.protobuf.message import DecodeError

from receiver.errors import ConfigError
from receiver.insights.uploads import Uploads
from receiver.units import KIB, MIB

GRPC_BYTES = 4 * MIB  # by gRPC, also after decompression: the default of the Collector's receiver
GRPC_CONNECTIONS = 64
# Streams of one connection. All but the first GRPC_TURNS wait, and each waiting one holds at most
# 64 KiB of its message.
GRPC_STREAMS = 32
GRPC_TURNS = 4  # streams of one connection that are received at the same time: 16 MiB
GRPC_IDLE_SECONDS = 60
# The core varies it by 10% for each connection. A call in progress may last RECEIVE_SECONDS longer.
GRPC_AGE_SECONDS = 300.0
RECEIVE_SECONDS = 10.0  # for a whole request
RETRY_SECONDS = 1
SERVICES = {
    "logs": "opentelemetry.proto.collector.logs.v1.LogsService",
    "traces": "opentelemetry.proto.collector.trace.v1.TraceService",
    "metrics": "opentelemetry.proto.collector.metrics.v1.MetricsService",
}
_Context = grpc.aio.ServicerContext[bytes, bytes]


def _options() -> tuple[tuple[str, int], ...]:
    return (
        ("grpc.max_receive_message_length", GRPC_BYTES),
        ("grpc.max_concurrent_streams", GRPC_STREAMS),
        ("grpc.max_allowed_incoming_connections", GRPC_CONNECTIONS),
        ("grpc.max_metadata_size", 16 * KIB),
        ("grpc.max_connection_idle_ms", GRPC_IDLE_SECONDS * 1000),
        ("grpc.max_connection_age_ms", int(GRPC_AGE_SECONDS * 1000)),
        ("grpc.max_connection_age_grace_ms", int(RECEIVE_SECONDS * 1000)),
        ("grpc.server_handshake_timeout_ms", 5000),
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", 64 * KIB),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.http2.max_ping_strikes", 2),
        ("grpc.so_reuseport", 0),
    )


def _delimited(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | 2, len(value)]) + value


def _retry_later() -> bytes:
    """Encodes a google.rpc.Status (RESOURCE_EXHAUSTED) with a google.rpc.RetryInfo.

    Without the latter, OTLP senders drop the data.
    """
    delay = _delimited(1, bytes([1 << 3, RETRY_SECONDS]))  # RetryInfo { Duration { seconds } }
    detail = _delimited(1, b"type.googleapis.com/google.rpc.RetryInfo") + _delimited(2, delay)
    return bytes([1 << 3, 8]) + _delimited(3, detail)


class GrpcServer:
    """`answer` takes a request of a signal and returns the response; it raises DecodeError.
    `refuse` counts a refused request.
    """

    def __init__(
        self,
        uploads: Uploads,
        answer: Callable[[str, bytes], bytes],
        refuse: Callable[[str, str], None],
    ) -> None:
        self._uploads, self._answer, self._refuse = uploads, answer, refuse
        # By connection, while it has open calls.
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._server: grpc.aio.Server | None = None

    async def start(self, listen: str, credentials: grpc.ServerCredentials | None) -> int:
        """Returns the port. Raises ConfigError."""
        server = grpc.aio.server(options=_options())
        for signal, service in SERVICES.items():
            # The handler is registered for a stream with one request: it is then called before
            # the message is received, and it can limit the wait for it.
            handler: Any = grpc.stream_unary_rpc_method_handler(self._export(signal))
            server.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler(service, {"Export": handler}),)
            )
        try:
            port = (
                server.add_secure_port(listen, credentials)
                if credentials
                else server.add_insecure_port(listen)
            )
        except (RuntimeError, OSError) as error:
            raise ConfigError(f"insights.grpc = {listen!r}: {str(error)[:200]}") from None
        await server.start()
        self._server = server
        return int(port)

    def _export(self, signal: str) -> Callable[[AsyncIterator[bytes], _Context], Awaitable[bytes]]:
        async def export(requests: AsyncIterator[bytes], context: _Context) -> bytes:
            turn = self._turns.setdefault(context.peer(), asyncio.Semaphore(GRPC_TURNS))
            async with turn:
                return await self._exported(signal, requests, context)

        return export

    async def _exported(
        self, signal: str, requests: AsyncIterator[bytes], context: _Context
    ) -> bytes:
        loop = asyncio.get_running_loop()
        deadline = asyncio.timeout(RECEIVE_SECONDS)
        upload = self._uploads.begin(loop.time(), lambda: deadline.reschedule(loop.time()))
        try:
            # The length of the message is unknown until it has been received, so the maximum is
            # reserved.
            if not upload.grow(GRPC_BYTES, loop.time()):
                await self._abort_full(signal, context)
            try:
                async with deadline:
                    body = await anext(aiter(requests), b"")
            except TimeoutError:
                self._refuse(signal, "upload_late")
                await context.abort(
                    grpc.StatusCode.DEADLINE_EXCEEDED, "the request did not come in time"
                )
            upload.shrink(len(body))
            return self._answer(signal, body)
        except DecodeError:
            self._refuse(signal, "request_malformed")
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not an ExportLogsServiceRequest")
        finally:
            upload.close()
        raise AssertionError("abort raises")

    async def _abort_full(self, signal: str, context: _Context) -> None:
        self._refuse(signal, "uploads_full")
        details = (("grpc-status-details-bin", _retry_later()),)
        await context.abort(
            grpc.StatusCode.RESOURCE_EXHAUSTED, "too many bytes are being received", details
        )

    async def close(self) -> None:
        """Waits at most 1 s for requests in progress."""
        if self._server is not None:
            await self._server.stop(1.0)
            self._server = None  # this closes its descriptors; aiohttp caches our handlers
