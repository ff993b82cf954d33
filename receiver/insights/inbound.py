"""OTLP in, by gRPC and by HTTP: log records become values; spans and metrics are taken and passed over (a gateway sends all three).

Specification: opentelemetry-proto, docs/specification.md (OTLP 1.11). What cannot be read is refused for good (INVALID_ARGUMENT,
400), so that the sender drops it and counts it. Nothing is kept here: the table behind it is bounded.
"""

from __future__ import annotations

import logging
import ssl
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
from aiohttp import web
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from receiver import semconv as sc
from receiver.errors import ConfigError
from receiver.insights.config import InsightsConfig
from receiver.insights.runs import Told
from receiver.signals import Value

log = logging.getLogger("kwitness.insights")
REQUEST_BYTES = 16 << 20  # after decompression
CONCURRENT = 64
ATTRIBUTES = 128
TEXT = 4096
_SERVICES = {
    "logs": "opentelemetry.proto.collector.logs.v1.LogsService", "traces": "opentelemetry.proto.collector.trace.v1.TraceService",
    "metrics": "opentelemetry.proto.collector.metrics.v1.MetricsService",
}  # fmt: skip


def told(body: bytes) -> Iterator[Told]:
    """The event records of an ExportLogsServiceRequest. Raises DecodeError."""
    request = ExportLogsServiceRequest.FromString(body)
    for resource_logs in request.resource_logs:
        resource = _values(resource_logs.resource.attributes)
        host, addresses = resource.get(sc.HOST_NAME, ""), resource.get(sc.HOST_IP, ())
        for scope_logs in resource_logs.scope_logs:
            for record in scope_logs.log_records:
                values = _values(record.attributes)
                kind = record.event_name or str(values.get(sc.EVENT_NAME, ""))
                yield Told(
                    str(host), addresses if isinstance(addresses, tuple) else (str(addresses),), str(values.get(sc.LOG_RECORD_UID, "")),
                    record.time_unix_nano, kind, record.severity_number, record.body.string_value[:TEXT], record.trace_id.hex(),
                    record.span_id.hex(), values,
                )  # fmt: skip


def _values(attributes: Sequence[KeyValue]) -> dict[str, Value]:
    return {a.key: found for a in attributes[:ATTRIBUTES] if (found := _value(a.value)) is not None}


def _value(raw: AnyValue) -> Value | None:
    match raw.WhichOneof("value"):
        case "string_value":
            return str(raw.string_value)[:TEXT]
        case "int_value":
            return int(raw.int_value)
        case "double_value":
            return float(raw.double_value)
        case "bool_value":
            return bool(raw.bool_value)
        case "array_value":
            return tuple(
                v.string_value[:TEXT] for v in raw.array_value.values[:ATTRIBUTES] if v.WhichOneof("value") == "string_value"
            )
    return None


class Inbound:
    """Both listeners. `take` gets every record; `counts` says what came: (signal, outcome) → requests."""

    def __init__(self, config: InsightsConfig, take: Callable[[Told], None]) -> None:
        if bool(config.certificate) != bool(config.key):
            raise ConfigError("insights.certificate and insights.key belong together")
        if not config.grpc and not config.http:
            raise ConfigError("insights: neither grpc nor http is set: nothing could come in")
        self._config = config
        self._take = take
        self.counts: Counter[tuple[str, str]] = Counter()
        self._server: grpc.aio.Server | None = None
        self._runner: web.AppRunner | None = None
        self.ports: dict[str, int] = {}

    def _logs(self, body: bytes) -> None:
        for record in told(body):
            self._take(record)

    async def start(self) -> None:
        """Raises ConfigError when an address cannot be listened on."""
        if self._config.grpc:
            await self._start_grpc()
        if self._config.http:
            await self._start_http()

    async def _start_grpc(self) -> None:
        server = grpc.aio.server(options=[("grpc.max_receive_message_length", REQUEST_BYTES)], maximum_concurrent_rpcs=CONCURRENT)
        for signal, service in _SERVICES.items():
            handler: Any = grpc.unary_unary_rpc_method_handler(self._export(signal))
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": handler}),))
        try:
            credentials = self._credentials()
            listen = self._config.grpc
            port = server.add_secure_port(listen, credentials) if credentials else server.add_insecure_port(listen)
        except (RuntimeError, OSError) as error:
            raise ConfigError(f"insights.grpc = {self._config.grpc!r}: {str(error)[:200]}") from None
        self.ports["grpc"] = port
        await server.start()
        self._server = server

    def _credentials(self) -> grpc.ServerCredentials | None:
        if not self._config.certificate:
            return None
        pair = (Path(self._config.key).read_bytes(), Path(self._config.certificate).read_bytes())
        ca = Path(self._config.client_ca).read_bytes() if self._config.client_ca else None
        return grpc.ssl_server_credentials([pair], ca, require_client_auth=ca is not None)

    def _export(self, signal: str) -> Callable[[bytes, grpc.aio.ServicerContext[bytes, bytes]], object]:
        async def export(body: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            try:
                if signal == "logs":
                    self._logs(body)
            except DecodeError:
                self.counts[signal, "refused"] += 1
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "this is no ExportLogsServiceRequest")
            self.counts[signal, "taken"] += 1
            return b""  # an Export…ServiceResponse without partial success

        return export

    async def _start_http(self) -> None:
        app = web.Application(client_max_size=REQUEST_BYTES)
        for signal in _SERVICES:
            app.router.add_post(f"/v1/{signal}", self._posted)
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=75)
        await self._runner.setup()
        host, _, port = self._config.http.rpartition(":")
        try:
            await web.TCPSite(self._runner, host.strip("[]"), int(port), ssl_context=self._tls()).start()
        except (OSError, ValueError) as error:
            raise ConfigError(f"insights.http = {self._config.http!r}: {getattr(error, 'strerror', None) or error}") from None
        self.ports["http"] = self._runner.addresses[0][1]

    def _tls(self) -> ssl.SSLContext | None:
        if not self._config.certificate:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self._config.certificate, self._config.key)
        if self._config.client_ca:
            context.load_verify_locations(self._config.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    async def _posted(self, request: web.Request) -> web.Response:
        signal = request.path.rpartition("/")[2]
        if request.content_type != "application/x-protobuf":
            self.counts[signal, "refused"] += 1
            raise web.HTTPUnsupportedMediaType(text="only application/x-protobuf\n")
        body = await request.read()
        try:
            if signal == "logs":
                self._logs(body)
        except DecodeError:
            self.counts[signal, "refused"] += 1
            raise web.HTTPBadRequest(text="this is no ExportLogsServiceRequest\n") from None
        self.counts[signal, "taken"] += 1
        return web.Response(body=b"", content_type="application/x-protobuf")

    async def close(self) -> None:
        if self._server is not None:
            await self._server.stop(1.0)
        if self._runner is not None:
            await self._runner.cleanup()
