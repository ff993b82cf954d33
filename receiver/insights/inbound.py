"""Receives OTLP by gRPC and by HTTP.

Log records become facts. Spans and metrics are accepted and ignored, because a gateway sends all
three signals.

Specification: opentelemetry-proto, docs/specification.md (OTLP 1.11). A malformed request is
refused permanently (INVALID_ARGUMENT, 400), so that the sender drops and counts it. A malformed
record is refused by a partial success. When too many bytes are being received, the sender is asked
to retry later (RESOURCE_EXHAUSTED with RetryInfo, 429 with Retry-After).

Bounds: receiver.insights.uploads bounds the bytes in flight, receiver.safe.listener the HTTP
connections, and receiver.insights.grpc_server the gRPC connections.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import grpc
from aiohttp import web
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

from receiver.errors import ConfigError
from receiver.insights.config import InsightsConfig
from receiver.insights.grpc_server import RECEIVE_SECONDS, RETRY_SECONDS, SERVICES, GrpcServer
from receiver.insights.records import Batch, read
from receiver.insights.uploads import MalformedError, TooLargeError, Upload, Uploads, decompressed
from receiver.safe.connection import ClientConnection, Limits
from receiver.safe.listener import SocketListener
from receiver.safe.log_limit import LogLimit
from receiver.signals import Metric
from receiver.units import KIB, MIB

log = logging.getLogger("kwitness.insights")
REQUEST_BYTES = 16 * MIB  # by HTTP, also after decompression
HTTP_LIMITS = Limits(
    connections=256,
    unproven=256,
    request_bytes=REQUEST_BYTES + 64 * KIB,
    body_seconds=RECEIVE_SECONDS,
    idle_seconds=75.0,
)


class Inbound:
    """Both listeners.

    `take` receives the records of each request. `counts` holds the number of requests by (signal,
    outcome).
    """

    def __init__(self, config: InsightsConfig, take: Callable[[Batch], None]) -> None:
        """Reads the certificates while the process still has the right to. Raises ConfigError."""
        if bool(config.certificate) != bool(config.key):
            raise ConfigError("insights.certificate and insights.key belong together")
        if not config.grpc and not config.http:
            raise ConfigError("insights: neither grpc nor http is set: nothing could come in")
        self._config = config
        self._take = take
        self.counts: Counter[tuple[str, str]] = Counter()
        self.refused: Counter[str] = Counter()  # requests by reason
        self.uploads = Uploads()
        self._limited = LogLimit(log)
        self._credentials, self._tls = self._read_certificates()
        self._grpc = GrpcServer(self.uploads, self._answer, self._refuse)
        self._listener: SocketListener | None = None
        self.ports: dict[str, int] = {}

    def _read_certificates(self) -> tuple[grpc.ServerCredentials | None, ssl.SSLContext | None]:
        config = self._config
        if not config.certificate:
            return None, None
        try:
            pair = (Path(config.key).read_bytes(), Path(config.certificate).read_bytes())
            ca = Path(config.client_ca).read_bytes() if config.client_ca else None
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(config.certificate, config.key)
            if config.client_ca:
                context.load_verify_locations(config.client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except OSError as error:  # includes ssl.SSLError
            raise ConfigError(
                f"insights.certificate, key or client_ca: {str(error)[:200]}"
            ) from None
        return grpc.ssl_server_credentials([pair], ca, require_client_auth=ca is not None), context

    async def start(self) -> None:
        """Starts both listeners. Raises ConfigError if it cannot listen on an address."""
        if self._config.grpc:
            self.ports["grpc"] = await self._grpc.start(self._config.grpc, self._credentials)
        if self._config.http:
            await self._start_http()

    def _answer(self, signal: str, body: bytes) -> bytes:
        """Returns an encoded Export…ServiceResponse. Raises DecodeError."""
        answer = b""
        if signal == "logs":
            batch = read(body)
            self._take(batch)
            if refused := batch.refused.total():
                reasons = ", ".join(
                    f"{count} {reason}" for reason, count in sorted(batch.refused.items())
                )
                response = ExportLogsServiceResponse()
                response.partial_success.rejected_log_records = refused
                response.partial_success.error_message = reasons
                answer = response.SerializeToString()
                self._limited.say(
                    logging.WARNING, "records", "event records were refused: %s", reasons
                )
        self.counts[signal, "taken"] += 1
        return answer

    def _refuse(self, signal: str, reason: str) -> None:
        self.counts[signal, "refused"] += 1
        self.refused[reason] += 1
        self._limited.say(logging.WARNING, reason, "a request was refused: %s", reason)

    async def _start_http(self) -> None:
        app = web.Application(client_max_size=REQUEST_BYTES)
        for signal in SERVICES:
            app.router.add_post(f"/v1/{signal}", self._posted)
        self._listener = SocketListener("insights.http", app, HTTP_LIMITS, self._tls)
        host, _, port = self._config.http.rpartition(":")
        try:
            await self._listener.start(host.strip("[]"), int(port))
        except (OSError, ValueError, OverflowError) as error:
            await self._listener.close()
            raise ConfigError(
                f"insights.http = {self._config.http!r}: "
                f"{getattr(error, 'strerror', None) or error}"
            ) from None
        self.ports["http"] = self._listener.addresses[0][1]

    async def _posted(self, request: web.Request) -> web.Response:
        """Returns every answer and raises none.

        aiohttp keeps the last answer of a connection, and an exception would keep its frames alive.
        """
        signal = request.path.rpartition("/")[2]
        if request.content_type != "application/x-protobuf":
            return self._refusal(signal, "request_type", 415, "only application/x-protobuf")
        connection, parts = request.protocol, list[bytes]()
        assert isinstance(connection, ClientConnection)
        upload = self.uploads.begin(asyncio.get_running_loop().time(), connection.abort)
        try:
            if not await self._received(request, upload, parts):
                return self._refusal(
                    signal, "uploads_full", 429, "too many bytes are being received"
                )
            encoding = request.headers.get("Content-Encoding", "").strip().lower()
            answer = self._answer(signal, decompressed(b"".join(parts), encoding, REQUEST_BYTES))
            return web.Response(body=answer, content_type="application/x-protobuf")
        except TooLargeError:
            return self._refusal(
                signal, "request_too_large", 413, f"more than {REQUEST_BYTES} bytes"
            )
        except MalformedError as error:
            return self._refusal(signal, "request_encoding", 400, str(error))
        except DecodeError:
            return self._refusal(
                signal, "request_malformed", 400, "not an ExportLogsServiceRequest"
            )
        finally:
            parts.clear()
            upload.close()

    def _refusal(self, signal: str, reason: str, status: int, text: str) -> web.Response:
        self._refuse(signal, reason)
        headers = (
            {"Retry-After": str(RETRY_SECONDS), "Connection": "close"} if status == 429 else None
        )
        return web.Response(status=status, text=text + "\n", headers=headers)

    async def _received(self, request: web.Request, upload: Upload, parts: list[bytes]) -> bool:
        """Reads the body. Returns False if there is no room for it. Raises TooLargeError."""
        if (request.content_length or 0) > REQUEST_BYTES:
            raise TooLargeError
        loop, size = asyncio.get_running_loop(), 0
        async for part in request.content.iter_any():
            size += len(part)
            if size > REQUEST_BYTES:
                raise TooLargeError
            if not upload.grow(len(part), loop.time()):
                return False
            parts.append(part)
        return True

    def metrics(self) -> tuple[Metric, ...]:
        return self._listener.metrics() if self._listener is not None else ()

    async def close(self) -> None:
        """Closes all connections. Each listener waits at most 1 s for requests in progress."""
        if self._listener is not None:
            await self._listener.close()
        await self._grpc.close()
