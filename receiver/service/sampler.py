"""Samples the watched processes. Its own cost is a metric."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from receiver import semconv as sc
from receiver.kernel.choose import LiveOrFallback
from receiver.kernel.descriptors import Reserve, exhausted
from receiver.kernel.source_config import Batch
from receiver.safe.log_limit import LogLimit
from receiver.signals import Metric, Point

log = logging.getLogger("kwitness")
SPARE_DESCRIPTORS = 16  # for the files that every sample opens
_T = TypeVar("_T")


class Sampler:
    """`missed` counts the samples for which no descriptor was free; `missed_last`: the last one."""

    def __init__(self, source: LiveOrFallback, interval_seconds: float) -> None:
        self.missed, self.missed_last = 0, False
        self.next_at = 0.0  # monotonic seconds
        self._source, self._interval = source, interval_seconds
        self._seconds = 0.0
        self._reserve = Reserve(SPARE_DESCRIPTORS)
        self._limited = LogLimit(log)

    def due(self, tick_seconds: float) -> Batch | None:
        """The samples, if their interval has passed. Call it at each tick."""
        start = time.monotonic()
        if start < self.next_at:
            return None
        self.next_at = start + self._interval - tick_seconds / 2  # ticks come late, never early
        samples = self.with_descriptors(self._source.sample)
        self._seconds += time.monotonic() - start
        self.missed_last = samples is None
        self.missed += self.missed_last
        return samples

    def early(self) -> Batch:
        """Further looks at the processes that have just begun, between two samples."""
        start = time.monotonic()
        looks = self.with_descriptors(self._source.early_sample)
        self._seconds += time.monotonic() - start
        return looks or []

    def with_descriptors(self, look: Callable[[], _T]) -> _T | None:
        """Calls `look()`.

        If no descriptor is free it tries again with the reserve; None if that was not enough.
        """
        try:
            return look()
        except OSError as error:
            if not exhausted(error):
                raise
        try:
            with self._reserve.lent():
                return look()
        except OSError as error:
            if not exhausted(error):
                raise
            text = (
                "no file descriptor is free (%s): skipped a sample of processes; raise LimitNOFILE="
            )
            self._limited.say(logging.ERROR, "descriptors", text, error.strerror)
            return None

    def metrics(self) -> tuple[Metric, ...]:
        found: tuple[Metric, ...] = ()
        if self._seconds:
            found += (
                Metric(*sc.METRIC_PIPELINE_OBSERVER_SAMPLE_TIME, (Point((), self._seconds),)),
            )
        if self.missed:
            found += (
                Metric(*sc.METRIC_PIPELINE_OBSERVER_SAMPLES_MISSED, (Point((), self.missed),)),
            )
        return found

    def close(self) -> None:
        self._reserve.close()
