"""Limits log lines: one per kind and interval, however often the event occurs.

For every line that a remote caller can cause.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

SECONDS = 10.0
KINDS = 64  # all further kinds share one interval


class LogLimit:
    """Writes the first line of each kind, then at most one per interval, with the number of omitted
    lines.

    `kind` is one of a closed set that the caller chooses; it never contains text from outside. Not
    thread-safe.
    """

    def __init__(
        self,
        log: logging.Logger,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log, self._seconds, self._clock = log, seconds, clock
        self._next: dict[str, float] = {}
        self._suppressed: dict[str, int] = {}

    def say(self, level: int, kind: str, message: str, *arguments: object) -> None:
        """`message` and `arguments` as `logging.log` takes them: one line."""
        if kind not in self._next and len(self._next) >= KINDS:
            kind = "other"
        now = self._clock()
        if now < self._next.get(kind, 0.0):
            self._suppressed[kind] = self._suppressed.get(kind, 0) + 1
            return
        self._next[kind] = now + self._seconds
        left_out = self._suppressed.pop(kind, 0)
        self._log.log(
            level,
            message + (f" (and {left_out} more like it since the last line)" if left_out else ""),
            *arguments,
        )

    def suppressed(self) -> int:
        """Lines that were omitted and not yet counted in a later line."""
        return sum(self._suppressed.values())
