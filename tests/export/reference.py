"""The other encoder: our signals as messages of opentelemetry-proto's generated classes,
set field by field."""

from __future__ import annotations

from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord as LogMessage
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    Gauge,
    HistogramDataPoint,
    NumberDataPoint,
    Sum,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import Histogram as HistogramMessage
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric as MetricMessage
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.proto.trace.v1.trace_pb2 import SpanFlags, Status

from receiver.signals import Attributes, Histogram, LogRecord, Metric, Point, Span, Value


def value(python: Value) -> AnyValue:
    if isinstance(python, bool):
        return AnyValue(bool_value=python)
    if isinstance(python, int):
        return AnyValue(int_value=int(python))
    if isinstance(python, float):
        return AnyValue(double_value=python)
    if isinstance(python, tuple):
        return AnyValue(array_value=ArrayValue(values=[value(v) for v in python]))
    return AnyValue(string_value=python)


def key_values(items: Attributes) -> list[KeyValue]:
    return [KeyValue(key=name, value=value(python)) for name, python in items]


def all_attributes(signal: Span | LogRecord) -> list[KeyValue]:
    shared = [item for each in signal.shared for item in each.items]
    return key_values((*shared, *signal.attributes))


def log_record(record: LogRecord) -> LogMessage:
    return LogMessage(
        time_unix_nano=record.time_ns,
        observed_time_unix_nano=record.observed_ns,
        severity_number=int(record.severity),  # type: ignore[arg-type]
        severity_text=record.severity.name,
        body=value(record.body),
        attributes=all_attributes(record),
        flags=1 if record.trace_id else 0,
        trace_id=record.trace_id,
        span_id=record.span_id,
        event_name=record.event_name,
    )


def span(made: Span) -> SpanMessage:
    flags = SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK | 1
    if made.remote_parent:
        flags |= SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK
    return SpanMessage(
        trace_id=made.trace_id,
        span_id=made.span_id,
        trace_state=made.trace_state,
        parent_span_id=made.parent_id,
        flags=flags,
        name=made.name,
        kind=int(made.kind),  # type: ignore[arg-type]
        start_time_unix_nano=made.start_ns,
        end_time_unix_nano=max(made.start_ns, made.end_ns),
        attributes=all_attributes(made),
        events=[
            SpanMessage.Event(
                time_unix_nano=e.time_ns, name=e.name, attributes=key_values(e.attributes)
            )
            for e in made.events
        ],
        links=[
            SpanMessage.Link(
                trace_id=k.trace_id, span_id=k.span_id, attributes=key_values(k.attributes)
            )
            for k in made.links
        ],
        status=Status(code=Status.STATUS_CODE_ERROR, message=made.error) if made.error else None,
    )


def metric(made: Metric, start_ns: int, time_ns: int) -> MetricMessage:
    delta = made.instrument.startswith("delta_")
    message = MetricMessage(name=made.name, description=made.description, unit=made.unit)
    temporality = (
        AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
        if delta
        else AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    )
    points = [_point(p, start_ns, time_ns) for p in made.points]
    match made.instrument.removeprefix("delta_"):
        case "histogram":
            message.histogram.CopyFrom(
                HistogramMessage(data_points=points, aggregation_temporality=temporality)
            )
        case "gauge":
            message.gauge.CopyFrom(Gauge(data_points=points))
        case kind:
            message.sum.CopyFrom(
                Sum(
                    data_points=points,
                    aggregation_temporality=temporality,
                    is_monotonic=kind == "counter",
                )
            )
    return message


def _point(point: Point, start_ns: int, time_ns: int) -> Any:
    common: dict[str, Any] = {
        "attributes": key_values(point.attributes),
        "start_time_unix_nano": start_ns,
        "time_unix_nano": time_ns,
    }
    found = point.value
    if isinstance(found, float):
        return NumberDataPoint(as_double=found, **common)
    if not isinstance(found, Histogram):
        return NumberDataPoint(as_int=found, **common)
    ends: dict[str, Any] = {"min": found.minimum, "max": found.maximum} if found.count else {}
    return HistogramDataPoint(
        count=found.count,
        sum=found.sum,
        bucket_counts=found.buckets,
        explicit_bounds=found.bounds,
        **ends,
        **common,
    )
