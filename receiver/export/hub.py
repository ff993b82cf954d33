"""All exporters together: a signal is encoded once and put into every pipeline of its kind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import BinaryIO

from receiver import semconv as sc
from receiver.export import encode
from receiver.export.console import JsonLines
from receiver.export.encode import Envelope
from receiver.export.exporters import EXPORTERS, Connected
from receiver.export.options import SIGNALS, BatchSettings, ExportSettings, SignalName
from receiver.export.outcome import Outcome
from receiver.export.pipeline import Pipeline
from receiver.export.rejected import RejectedSamples
from receiver.signals import Histogram, Importance, LogRecord, Metric, MetricSnapshot, Point, Span

_ITEM_METRICS = {
    "traces": sc.METRIC_OTEL_SDK_EXPORTER_SPAN_EXPORTED,
    "logs": sc.METRIC_OTEL_SDK_EXPORTER_LOG_EXPORTED,
    "metrics": sc.METRIC_OTEL_SDK_EXPORTER_METRIC_DATA_POINT_EXPORTED,
}
_ITEMS = {"traces": "span", "logs": "log_record", "metrics": "data_point"}
_QUEUE_METRICS = {
    "traces": sc.METRIC_OTEL_SDK_PROCESSOR_SPAN_QUEUE_SIZE,
    "logs": sc.METRIC_OTEL_SDK_PROCESSOR_LOG_QUEUE_SIZE,
}


class Hub:
    """`put` is synchronous and never blocks; delivery happens in the pipelines' tasks."""

    def __init__(
        self,
        settings: ExportSettings,
        version: str,
        json_lines: BinaryIO | None = None,
        *,
        remote: bool = True,
    ) -> None:
        """`remote`: uses the exporters that send to a server."""
        self.settings = settings
        self.samples = RejectedSamples()
        self.pipelines: list[Pipeline] = []
        self.targets: set[str] = set()  # where the signals go, for the log
        self._by_signal: dict[SignalName, list[Pipeline]] = {signal: [] for signal in SIGNALS}
        self._tasks: list[asyncio.Task[None]] = []
        self._envelope = Envelope("receiver", version, sc.SCHEMA_URL)
        self._delta = _Delta() if settings.delta else None
        agent = f"kwitness/{version} OTel-OTLP-Exporter-Python/{version}"
        for signal in SIGNALS:
            if json_lines is not None:
                lines = JsonLines(signal, json_lines)
                made = Connected(lines, "otlp_json_file_exporter", "otlp_json_file_exporter")
                self._add(signal, made, BatchSettings())
            for name in settings.exporters[signal] if not settings.disabled else ():
                exporter = EXPORTERS[name]
                if remote or not exporter.remote:
                    made = exporter.connect(signal, settings, agent)
                    self._add(signal, made, settings.batches[signal], sampled=exporter.remote)

    def _add(
        self, signal: SignalName, made: Connected, batch: BatchSettings, *, sampled: bool = False
    ) -> None:
        """`sampled`: keeps samples of what the server refuses."""
        pipeline = Pipeline(signal, made.transport, batch, self._envelope, made.kind)
        if sampled:
            pipeline.samples = self.samples
        self.targets.add(made.target)
        self.pipelines.append(pipeline)
        self._by_signal[signal].append(pipeline)

    def start(self) -> None:
        self._tasks = [
            asyncio.create_task(p.run(), name=f"export {p.signal} {p.kind}") for p in self.pipelines
        ]

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        return self._tasks

    def put(self, signals: Iterable[Span | LogRecord]) -> None:
        traces, logs = self._by_signal["traces"], self._by_signal["logs"]
        for signal in signals:
            if isinstance(signal, LogRecord):
                if logs:
                    encoded = encode.log_record(signal)
                    for pipeline in logs:
                        pipeline.put(signal.resource, encoded, signal.importance)
            elif traces:
                encoded = encode.span(signal)
                for pipeline in traces:
                    pipeline.put(signal.resource, encoded, signal.importance)

    @property
    def is_half_full(self) -> bool:
        """Whether a queue is more than half full, in items or in bytes."""
        queues = [pipeline.queue for pipeline in self.pipelines]
        return any(2 * len(q) > q.max_items or 2 * q.bytes > q.max_bytes for q in queues)

    def put_loss(self, record: LogRecord) -> None:
        """A record of lost items.

        The loss of such a record is counted and causes no further record.
        """
        encoded = encode.log_record(record)
        for pipeline in self._by_signal["logs"]:
            pipeline.put(record.resource, encoded, record.importance, reports_loss=True)

    def losses(self) -> dict[tuple[str, str], int]:
        """Items lost on export, by signal and reason, since the start."""
        out: dict[tuple[str, str], int] = {}
        for pipeline in self.pipelines:
            for reason, count in pipeline.losses().items():
                out[pipeline.signal, reason] = out.get((pipeline.signal, reason), 0) + count
        return out

    def put_metrics(self, snapshot: MetricSnapshot) -> None:
        if self._delta is not None:
            snapshot = self._delta.since_last(snapshot)
        for resource, encoded in encode.snapshot_items(snapshot):
            for pipeline in self._by_signal["metrics"]:
                pipeline.put(resource, encoded, Importance.NORMAL)

    def unsent(self) -> dict[str, int]:
        """Items that no server has accepted, by kind: those in the queues, and those that a
        shutdown dropped.
        """
        out = {}
        for signal, pipelines in self._by_signal.items():
            count = sum(len(p.queue) + p.in_flight + p.failed["shutdown"] for p in pipelines)
            out[_ITEMS[signal]] = count
        return out

    async def shutdown(self, timeout_seconds: float) -> None:
        """Flushes within the timeout. The remaining items are counted as failed."""
        for pipeline in self.pipelines:
            await pipeline.shutdown(timeout_seconds)
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=timeout_seconds + 0.5)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for pipeline in self.pipelines:
            if pipeline.in_flight:
                pipeline.failed["shutdown"] += pipeline.in_flight
                pipeline.in_flight = 0
            await pipeline.close()
        self.samples.close()

    def metrics(self) -> tuple[Metric, ...]:
        """The exporters' own metrics, under upstream's otel.sdk.* names."""
        out: list[Metric] = []
        dropped: list[Point] = []
        for signal, pipelines in self._by_signal.items():
            exported: list[Point] = []
            sizes: list[Point] = []
            for pipeline in pipelines:
                base = (
                    (sc.OTEL_COMPONENT_TYPE, pipeline.kind),
                    (sc.OTEL_COMPONENT_NAME, f"{pipeline.kind}/{signal}"),
                )
                exported.append(Point(base, pipeline.exported))
                if pipeline.rejected:
                    exported.append(Point((*base, (sc.ERROR_TYPE, "rejected")), pipeline.rejected))
                exported += [
                    Point((*base, (sc.ERROR_TYPE, reason)), n)
                    for reason, n in pipeline.failed.items()
                ]
                sizes.append(Point(base, len(pipeline.queue) + pipeline.in_flight))
                for level, count in pipeline.queue.dropped.items():
                    labels = (
                        (sc.OTEL_COMPONENT_TYPE, pipeline.kind),
                        (sc.PIPELINE_OBSERVER_LOSS_REASON, f"queue_full_{level}"),
                    )
                    dropped.append(Point(labels, count))
            out.append(Metric(*_ITEM_METRICS[signal], tuple(exported)))
            if signal in _QUEUE_METRICS:
                out.append(Metric(*_QUEUE_METRICS[signal], tuple(sizes)))
        out.append(Metric(*sc.METRIC_PIPELINE_OBSERVER_QUEUE_DROPPED, tuple(_merged(dropped))))
        return tuple(m for m in out if m.points)


def _merged(points: list[Point]) -> list[Point]:
    sums: dict[tuple[tuple[str, object], ...], int] = {}
    for point in points:
        assert isinstance(point.value, int)
        sums[point.attributes] = sums.get(point.attributes, 0) + point.value
    return [Point(labels, value) for labels, value in sums.items()]  # type: ignore[arg-type]


class _Delta:
    """OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=delta: counters and histograms as
    differences, the other metrics cumulative.
    """

    def __init__(self) -> None:
        self._last: dict[tuple[str, object], int | float | Histogram] = {}
        self._since = 0

    def since_last(self, snapshot: MetricSnapshot) -> MetricSnapshot:
        metrics = []
        for metric in snapshot.metrics:
            if metric.instrument not in ("counter", "histogram"):
                metrics.append(metric)
                continue
            points = []
            for point in metric.points:
                key = (metric.name, point.attributes)
                points.append(
                    Point(point.attributes, _difference(point.value, self._last.get(key)))
                )
                self._last[key] = point.value
            metrics.append(
                Metric(
                    metric.name,
                    f"delta_{metric.instrument}",
                    metric.unit,
                    metric.description,
                    tuple(points),
                )
            )
        start, self._since = self._since or snapshot.start_ns, snapshot.time_ns
        return MetricSnapshot(snapshot.resource, start, snapshot.time_ns, tuple(metrics))


def _difference(
    now: int | float | Histogram, before: int | float | Histogram | None
) -> int | float | Histogram:
    if before is None:
        return now
    if isinstance(now, Histogram):
        assert isinstance(before, Histogram)
        buckets = tuple(a - b for a, b in zip(now.buckets, before.buckets, strict=True))
        return Histogram(
            count=now.count - before.count,
            sum=now.sum - before.sum,
            minimum=now.minimum,
            maximum=now.maximum,
            bounds=now.bounds,
            buckets=buckets,
        )
    assert not isinstance(before, Histogram)
    return now - before


__all__ = ["Hub", "Outcome"]
