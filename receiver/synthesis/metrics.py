"""Cumulative, bounded metrics about tasks.

Attributes come from closed or capped sets only: never a pid, a path or a run id.
"""

from __future__ import annotations

from bisect import bisect_left

from receiver import semconv as sc
from receiver.model import Identity
from receiver.signals import Attributes, Histogram, Metric, Point

TASK_NAMES = 2000  # distinct (system, pipeline, task); the rest is counted under OTHER
OTHER = "_other"
DURATION_BOUNDS = (
    1.0,
    5.0,
    10.0,
    30.0,
    60.0,
    120.0,
    300.0,
    600.0,
    1800.0,
    3600.0,
    7200.0,
    14400.0,
    43200.0,
    86400.0,
)
LAG_BOUNDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
STALL_BOUNDS = (1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
Definition = tuple[str, str, str, str]


class _Distribution:
    __slots__ = ("bounds", "buckets", "count", "maximum", "minimum", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.buckets = [0] * (len(bounds) + 1)
        self.count, self.sum = 0, 0.0
        self.minimum, self.maximum = float("inf"), float("-inf")

    def record(self, value: float) -> None:
        self.buckets[bisect_left(self.bounds, value)] += 1
        self.count += 1
        self.sum += value
        self.minimum = min(self.minimum, value)
        self.maximum = max(self.maximum, value)

    def frozen(self) -> Histogram:
        return Histogram(
            count=self.count,
            sum=self.sum,
            minimum=self.minimum,
            maximum=self.maximum,
            bounds=self.bounds,
            buckets=tuple(self.buckets),
        )


class MetricStore:
    """Holds every series. Adding is cheap; `metrics` makes a snapshot of all series."""

    def __init__(self) -> None:
        self._numbers: dict[Definition, dict[Attributes, int | float]] = {}
        self._distributions: dict[Definition, dict[Attributes, _Distribution]] = {}
        self._names: set[tuple[str, str, str]] = set()

    def add(self, definition: Definition, attributes: Attributes, amount: int | float = 1) -> None:
        series = self._numbers.setdefault(definition, {})
        series[attributes] = series.get(attributes, 0) + amount

    def record(
        self,
        definition: Definition,
        attributes: Attributes,
        value: float,
        bounds: tuple[float, ...],
    ) -> None:
        series = self._distributions.setdefault(definition, {})
        distribution = series.get(attributes)
        if distribution is None:
            distribution = series[attributes] = _Distribution(bounds)
        distribution.record(value)

    def task(self, identity: Identity | None) -> Attributes:
        """The three labels of a task, capped."""
        names = (
            (identity.system, identity.pipeline, identity.task)
            if identity
            else ("unknown", OTHER, OTHER)
        )
        if names not in self._names:
            if len(self._names) >= TASK_NAMES:
                names = (names[0], OTHER, OTHER)
            self._names.add(names)
        return (
            (sc.PIPELINE_SYSTEM_NAME, names[0]),
            (sc.PIPELINE_NAME, names[1]),
            (sc.PIPELINE_TASK_NAME, names[2]),
        )

    def metrics(self) -> tuple[Metric, ...]:
        out = [
            Metric(name, instrument, unit, brief, tuple(Point(a, v) for a, v in series.items()))
            for (name, instrument, unit, brief), series in self._numbers.items()
        ]
        out += [
            Metric(
                name,
                instrument,
                unit,
                brief,
                tuple(Point(a, d.frozen()) for a, d in series.items()),
            )
            for (name, instrument, unit, brief), series in self._distributions.items()
        ]
        return tuple(out)


def folded_error(error: str) -> str:
    """error.type for metrics: all exit codes share one value."""
    return "nonzero_exit" if error.startswith("exit_") else error
