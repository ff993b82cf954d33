"""Decides what a server's answer means, in one place for both transports.

Answers are decoded by the generated classes of opentelemetry-proto and googleapis-common-protos.
Only the OTLP transports import this module, so a process without one of them does not load
protobuf. The import is not deferred to the first answer:
by then the service may have become a user who cannot read its modules.

Sources: OTLP specification 1.11 (`docs/specification.md`), google/rpc/{status,error_details}.proto.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from receiver.export.options import SignalName
from receiver.export.outcome import (
    MAX_WAIT_SECONDS,
    Accepted,
    Outcome,
    Permanent,
    Retryable,
    TooLarge,
    retry_after,
)

GRPC_RETRYABLE = {
    "CANCELLED",
    "DEADLINE_EXCEEDED",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNAVAILABLE",
    "DATA_LOSS",
}
HTTP_RETRYABLE = {429, 502, 503, 504}
_MESSAGE_CHARACTERS = 200
_RESPONSES: dict[SignalName, tuple[Any, str]] = {
    "traces": (ExportTraceServiceResponse, "rejected_spans"),
    "metrics": (ExportMetricsServiceResponse, "rejected_data_points"),
    "logs": (ExportLogsServiceResponse, "rejected_log_records"),
}


def grpc_outcome(code: str, message: str, details: bytes) -> Outcome:
    """From a status code's name and the trailer grpc-status-details-bin."""
    delay = retry_info(details)
    if code in GRPC_RETRYABLE:
        return Retryable(code.lower(), delay)
    if code == "RESOURCE_EXHAUSTED":
        if delay is not None:
            return Retryable("resource_exhausted", delay)
        return (
            TooLarge() if "larger than max" in message else Permanent("resource_exhausted", message)
        )
    return Permanent(code.lower(), message)


def http_outcome(
    signal: SignalName, status: int, retry_header: str, body: bytes, *, is_protobuf: bool
) -> Outcome:
    """From the status, the Retry-After header and the body of an HTTP answer."""
    if 200 <= status < 300:
        if not is_protobuf and body:
            return Permanent("bad_response", f"HTTP {status} with a body that is not OTLP")
        return partial_success(signal, body)
    if status in HTTP_RETRYABLE:
        return Retryable(f"http_{status}", retry_after(retry_header) if retry_header else None)
    if status == 413:
        return TooLarge()
    if 300 <= status < 400:
        return Permanent(
            f"http_{status}",
            "the endpoint redirects, which is not followed: set the URL that it leads to",
        )
    return Permanent(f"http_{status}", body[:_MESSAGE_CHARACTERS].decode("utf-8", "replace"))


def partial_success(signal: SignalName, body: bytes) -> Outcome:
    """From the Export*ServiceResponse of the signal. An empty one, the usual answer, accepts
    everything."""
    if not body:
        return Accepted()
    response, rejected = _RESPONSES[signal]
    try:
        found = response.FromString(body).partial_success
    except DecodeError:
        return Permanent("bad_response", "the answer is not protobuf")
    return Accepted(max(getattr(found, rejected), 0), found.error_message[:_MESSAGE_CHARACTERS])


def retry_info(details: bytes) -> float | None:
    """Seconds, from 0 to MAX_WAIT_SECONDS, that the google.rpc.Status in grpc-status-details-bin
    asks for.

    None without a google.rpc.RetryInfo, and for bytes that are no Status.
    """
    if not details:
        return None
    info = RetryInfo()
    try:
        if not any(entry.Unpack(info) for entry in Status.FromString(details).details):
            return None
    except DecodeError:
        return None
    seconds: float = info.retry_delay.seconds + info.retry_delay.nanos / 1e9
    return min(max(seconds, 0.0), MAX_WAIT_SECONDS)
