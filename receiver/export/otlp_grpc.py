"""OTLP over gRPC: encoded bytes through a generic unary call, without generated stubs."""

from __future__ import annotations

import grpc

from receiver.export import tls
from receiver.export.options import OtlpSettings
from receiver.export.otlp_answers import grpc_outcome, partial_success
from receiver.export.outcome import Outcome
from receiver.units import MIB

_METHODS = {
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
}
_REBUILD_AFTER = 5  # failures in a row: some versions of grpcio never reconnect (grpc/grpc#38290)


class GrpcTransport:
    """One channel, opened with the first request and replaced when it no longer connects."""

    def __init__(self, settings: OtlpSettings, user_agent: str) -> None:
        self._settings = settings
        self._user_agent = user_agent
        self._credentials = _credentials(settings) if settings.tls else None
        self._channel: grpc.aio.Channel | None = None
        self._failures = 0

    def _open(self) -> grpc.aio.Channel:
        options = [
            ("grpc.primary_user_agent", self._user_agent),
            ("grpc.initial_reconnect_backoff_ms", 500),
            ("grpc.max_reconnect_backoff_ms", 5000),
            ("grpc.keepalive_time_ms", 300_000),  # grpc-go disconnects clients that ping more often
            ("grpc.max_receive_message_length", 4 * MIB),
            ("grpc.enable_http_proxy", 0),
            (
                "grpc.enable_retries",
                0,
            ),  # the pipeline retries: it counts the attempts and has its own backoff
        ]
        compression = (
            grpc.Compression.Gzip if self._settings.gzip else grpc.Compression.NoCompression
        )
        if self._credentials is not None:
            return grpc.aio.secure_channel(
                self._settings.endpoint, self._credentials, options=options, compression=compression
            )
        return grpc.aio.insecure_channel(
            self._settings.endpoint, options=options, compression=compression
        )

    async def send(self, body: bytes) -> Outcome:
        if self._channel is None:
            self._channel = self._open()
        export: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(
            _METHODS[self._settings.signal]
        )
        try:
            answer: bytes = await export(
                body,
                timeout=self._settings.timeout_seconds or None,
                metadata=self._settings.headers,
            )
        except grpc.aio.AioRpcError as error:
            self._failures += 1
            if self._failures % _REBUILD_AFTER == 0:
                await self.close()
            trailers = error.trailing_metadata()
            details = trailers.get("grpc-status-details-bin", b"") if trailers is not None else b""
            return grpc_outcome(
                error.code().name,
                error.details() or "",
                details if isinstance(details, bytes) else b"",
            )
        self._failures = 0
        return partial_success(self._settings.signal, answer)

    async def close(self) -> None:
        if self._channel is not None:
            channel, self._channel = self._channel, None
            await channel.close()


def _credentials(settings: OtlpSettings) -> grpc.ChannelCredentials:
    tls.context(settings)
    found = tls.material(settings)
    return grpc.ssl_channel_credentials(found.authority, found.key or found.chain, found.chain)
