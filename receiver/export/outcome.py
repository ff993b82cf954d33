"""The outcome of a request (accepted, to be sent again later, too large, or refused for good), and
how long to wait.

`otlp_answers` decides it from a server's answer. Source: OTLP specification 1.11
(`docs/specification.md`).
"""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import msgspec

MAX_WAIT_SECONDS = 60.0  # a server may not silence us for longer


class Accepted(msgspec.Struct, frozen=True):
    """The server took the request, but not `rejected` of its items (partial success: never sent
    again).
    """

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

    A delay that the server asks for can only make the wait longer. A server that asks for 0 s, for
    a date in the past or for garbage (a proxy whose clock is behind does) meets the same growing
    waits as one that asks for nothing.
    """

    def __init__(
        self, initial: float = 1.0, factor: float = 1.5, limit: float = 30.0, jitter: float = 0.2
    ) -> None:
        self._factor, self._limit, self._jitter = factor, limit, jitter
        self._next = initial

    def wait_seconds(self, after: float | None = None) -> float:
        """Seconds until the next attempt, at most MAX_WAIT_SECONDS.

        Never less than `after`, the server's own delay.
        """
        base, self._next = self._next, min(self._next * self._factor, self._limit)
        own = base * random.uniform(1 - self._jitter, 1 + self._jitter)
        if after is None or not math.isfinite(after) or after <= own:
            return own
        # clients that were all sent away until the same moment must not all come back in it
        return min(after, MAX_WAIT_SECONDS) * random.uniform(1, 1 + self._jitter)


def retry_after(value: str, now: datetime | None = None) -> float | None:
    """HTTP Retry-After (RFC 9110, 10.2.3): seconds or an HTTP date; None for garbage.

    Capped, never negative.
    """
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
