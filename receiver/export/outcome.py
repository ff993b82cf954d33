"""What a server's answer means: accepted, again later, smaller, or never. Decided in one place for both transports.

Sources: OTLP specification 1.11 (`docs/specification.md`), google/rpc/{status,error_details}.proto.
"""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import msgspec

MAX_WAIT_SECONDS = 60.0  # a server may not silence us for longer
GRPC_RETRYABLE = {
    "CANCELLED",
    "DEADLINE_EXCEEDED",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNAVAILABLE",
    "DATA_LOSS",
}
HTTP_RETRYABLE = {429, 502, 503, 504}
_RETRY_INFO = b"type.googleapis.com/google.rpc.RetryInfo"


class Accepted(msgspec.Struct, frozen=True):
    """The server took the request; `rejected` of its items it did not keep (partial success: never sent again)."""

    rejected: int = 0
    message: str = ""


class Retryable(msgspec.Struct, frozen=True):
    reason: str
    after_seconds: float | None = None


class TooLarge(msgspec.Struct, frozen=True):
    """The request must be split."""


class Permanent(msgspec.Struct, frozen=True):
    reason: str
    message: str = ""


Outcome = Accepted | Retryable | TooLarge | Permanent


class Backoff:
    """Exponential with jitter, like the Collector's: 1 s, times 1.5, at most 30 s.

    A delay that the server asks for can only make the wait longer. A server that asks for 0 s, for a date in the past or for
    garbage (a proxy whose clock is behind does) meets the same growing waits as one that asks for nothing.
    """

    def __init__(
        self, initial: float = 1.0, factor: float = 1.5, limit: float = 30.0, jitter: float = 0.2
    ) -> None:
        self._initial, self._factor, self._limit, self._jitter = initial, factor, limit, jitter
        self._next = initial

    def wait_seconds(self, after: float | None = None) -> float:
        """Seconds until the next attempt. Never less than `after`, the server's own delay, up to MAX_WAIT_SECONDS."""
        base, self._next = self._next, min(self._next * self._factor, self._limit)
        own = base * random.uniform(1 - self._jitter, 1 + self._jitter)
        if after is None or not math.isfinite(after) or after <= own:
            return own
        # clients that were all sent away until the same moment must not all come back in it
        return min(after, MAX_WAIT_SECONDS) * random.uniform(1, 1 + self._jitter)


def retry_after(value: str, now: datetime | None = None) -> float | None:
    """HTTP Retry-After (RFC 9110, 10.2.3): seconds or an HTTP date; None for garbage; capped, never negative."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value), MAX_WAIT_SECONDS)
    try:
        at = parsedate_to_datetime(value[:64])
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return min(max((at - (now or datetime.now(UTC))).total_seconds(), 0.0), MAX_WAIT_SECONDS)


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


def http_outcome(status: int, retry_header: str, body: bytes, is_protobuf: bool) -> Outcome:
    if 200 <= status < 300:
        if not is_protobuf and body:
            return Permanent("bad_response", f"HTTP {status} with a body that is not OTLP")
        return partial_success(body)
    if status in HTTP_RETRYABLE:
        return Retryable(f"http_{status}", retry_after(retry_header) if retry_header else None)
    if status == 413:
        return TooLarge()
    if 300 <= status < 400:
        return Permanent(
            f"http_{status}",
            "the endpoint redirects, which is not followed: set the URL that it leads to",
        )
    return Permanent(f"http_{status}", body[:200].decode("utf-8", "replace"))


def partial_success(body: bytes) -> Outcome:
    """Export*ServiceResponse { partial_success = 1 { rejected_* = 1, error_message = 2 } }: one shape for all signals."""
    try:
        for number, value in fields(body):
            if number == 1 and isinstance(value, bytes):
                inner = dict(fields(value))
                text = inner.get(2, b"")
                message = text[:200].decode("utf-8", "replace") if isinstance(text, bytes) else ""
                return Accepted(max(_signed(inner.get(1, 0)), 0), message)
    except ValueError:
        return Permanent("bad_response", "the answer is not protobuf")
    return Accepted()


def retry_info(details: bytes) -> float | None:
    """Seconds, from 0 to MAX_WAIT_SECONDS, that grpc-status-details-bin asks for; None without a RetryInfo.

    google.rpc.Status.details = 3: Any { type_url = 1, value = 2: RetryInfo { 1: Duration { s = 1, ns = 2 } } }.
    """
    try:
        for number, value in fields(details):
            if number != 3 or not isinstance(value, bytes):
                continue
            entry = dict(fields(value))
            if entry.get(1) != _RETRY_INFO or not isinstance(entry.get(2), bytes):
                continue
            info = dict(fields(entry[2]))  # type: ignore[arg-type]
            duration = dict(fields(info[1])) if isinstance(info.get(1), bytes) else {}  # type: ignore[arg-type]
            seconds, nanos = _signed(duration.get(1, 0)), _signed(duration.get(2, 0))
            return min(max(seconds + nanos / 1e9, 0.0), MAX_WAIT_SECONDS)
    except ValueError:
        return None
    return None


def _signed(value: int | bytes) -> int:
    """A varint as int64 (two's complement); another wire type counts as 0."""
    number = value if isinstance(value, int) else 0
    number &= (1 << 64) - 1
    return number - (1 << 64) if number >> 63 else number


def fields(data: bytes) -> list[tuple[int, int | bytes]]:
    """The top-level fields of a protobuf message. Raises ValueError when it is not one."""
    out: list[tuple[int, int | bytes]] = []
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        wire = tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            out.append((tag >> 3, value))
            continue
        size = {1: 8, 5: 4}.get(wire)
        if wire == 2:
            size, at = _varint(data, at)
        if size is None or at + size > len(data):
            raise ValueError("not a protobuf message")
        out.append((tag >> 3, data[at : at + size]))
        at += size
    return out


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("cut varint")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("long varint")
