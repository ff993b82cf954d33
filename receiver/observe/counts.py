"""The core's account of events: how many it got, and how many led to no signal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from receiver import semconv as sc
from receiver.signals import Metric, Point
from receiver.synthesis.metrics import LAG_BOUNDS, MetricStore
from receiver.units import SECOND


def book_events(counts: Counter[str], booked: Counter[str], book: MetricStore) -> None:
    """Moves the growth of the counts into the metrics. `booked`: what is in them already."""
    for kind, count in counts.items():
        grown = count - booked[kind]
        if grown:
            labels = ((sc.PIPELINE_OBSERVER_EVENT_KIND, kind),)
            book.add(sc.METRIC_PIPELINE_OBSERVER_EVENTS, labels, grown)
            booked[kind] = count


def book_lag(lag_ns: int, book: MetricStore) -> None:
    """The time from the oldest event of a batch to the reading of the batch."""
    book.record(sc.METRIC_PIPELINE_OBSERVER_LAG, (), max(0, lag_ns) / SECOND, LAG_BOUNDS)


def drops_metric(parts: Iterable[Counter[str]], failed: Mapping[str, Counter[str]]) -> Metric:
    """The drops of all parts, and the failures of recognisers and listeners by their names."""
    drops: Counter[str] = Counter()
    for part in parts:
        drops += part
    for kind, failures in failed.items():
        drops += Counter({f"{kind}_{name}": count for name, count in failures.items()})
    points = tuple(
        Point(((sc.PIPELINE_OBSERVER_LOSS_REASON, reason),), count)
        for reason, count in drops.items()
    )
    return Metric(*sc.METRIC_PIPELINE_OBSERVER_DROPS, points)
