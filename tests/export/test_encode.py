"""Our protobuf bytes, parsed by the generated classes of opentelemetry-proto."""

from __future__ import annotations

from google.protobuf.wrappers_pb2 import UInt64Value
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord as LogMessage
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric as MetricMessage
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

from receiver.export import encode
from receiver.signals import (
    EMPTY,
    Attributes,
    Histogram,
    LogRecord,
    Metric,
    Point,
    ResourceAttributes,
    Severity,
    Span,
    SpanEvent,
    SpanKind,
    SpanLink,
    Value,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
VALUES: st.SearchStrategy[Value] = st.one_of(
    TEXT,
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.lists(TEXT, max_size=5).map(tuple),
)
ITEMS = st.lists(st.tuples(TEXT, VALUES), max_size=8).map(tuple)
TIMES = st.integers(0, 2**63)


def python(value: AnyValue) -> Value:
    kind = value.WhichOneof("value") or "string_value"
    if kind == "array_value":
        return tuple(str(python(v)) for v in value.array_value.values)
    result: Value = getattr(value, kind)
    return result


def pairs(attributes: object) -> list[tuple[str, Value]]:
    return [(a.key, python(a.value)) for a in attributes]  # type: ignore[attr-defined]


IDS = (
    (b"\x01" * 16, b"\x02" * 8),
    (b"\x01" * 16, b""),
    (b"", b""),
)  # of a span, of a run as a whole, of none


@given(ITEMS, ITEMS, TIMES, TIMES, st.sampled_from(Severity), TEXT, TEXT, st.sampled_from(IDS))
def test_log_records(
    shared: Attributes,
    own: Attributes,
    at: int,
    seen: int,
    severity: Severity,
    name: str,
    body: str,
    ids: tuple[bytes, bytes],
) -> None:
    record = LogRecord(
        EMPTY, at, seen, severity, name, body, *ids, (ResourceAttributes(shared),), own
    )
    for _ in range(2):  # the second time from the kept bytes
        message = LogMessage.FromString(encode.log_record(record))
        assert (message.time_unix_nano, message.observed_time_unix_nano) == (at, seen)
        assert (int(message.severity_number), message.severity_text) == (
            int(severity),
            severity.name,
        )
        assert (message.event_name, message.body.string_value) == (name, body)
        assert (message.trace_id, message.span_id, message.flags) == (*ids, 1 if ids[0] else 0)
        assert pairs(message.attributes) == [*shared, *own]


@given(ITEMS, ITEMS, TEXT, TEXT, TEXT, st.booleans())
def test_spans(
    shared: Attributes, own: Attributes, name: str, error: str, state: str, remote: bool
) -> None:
    span = Span(
        EMPTY,
        b"\x01" * 16,
        b"\x02" * 8,
        b"\x03" * 8,
        name,
        SpanKind.SERVER,
        5,
        9,
        (ResourceAttributes(shared),),
        own,
        events=(SpanEvent(7, name, own),),
        links=(SpanLink(b"\x04" * 16, b"\x05" * 8, own),),
        error=error,
        remote_parent=remote,
        trace_state=state,
    )
    message = SpanMessage.FromString(encode.span(span))
    assert (message.trace_id, message.span_id, message.parent_span_id) == (
        b"\x01" * 16,
        b"\x02" * 8,
        b"\x03" * 8,
    )
    assert (
        message.name,
        message.kind,
        message.start_time_unix_nano,
        message.end_time_unix_nano,
    ) == (name, 2, 5, 9)
    assert pairs(message.attributes) == [*shared, *own]
    assert (
        message.events[0].time_unix_nano,
        message.events[0].name,
        pairs(message.events[0].attributes),
    ) == (7, name, list(own))
    assert (message.links[0].span_id, pairs(message.links[0].attributes)) == (
        b"\x05" * 8,
        list(own),
    )
    assert (message.status.code, message.status.message) == ((2, error) if error else (0, ""))
    assert message.flags == (0x301 if remote else 0x101)
    assert message.trace_state == state


@given(
    ITEMS,
    st.one_of(st.integers(-(2**62), 2**62), st.floats(allow_nan=False)),
    st.sampled_from(["counter", "updowncounter", "gauge"]),
)
def test_number_metrics(own: Attributes, value: int | float, instrument: str) -> None:
    raw = encode.metric(Metric("m", instrument, "1", "d", (Point(own, value),)), 1, 2)
    message = MetricMessage.FromString(raw)
    data = message.gauge if instrument == "gauge" else message.sum
    point = data.data_points[0]
    assert (point.as_double if isinstance(value, float) else point.as_int) == value
    assert (pairs(point.attributes), point.start_time_unix_nano, point.time_unix_nano) == (
        list(own),
        1,
        2,
    )
    if instrument != "gauge":
        assert (message.sum.aggregation_temporality, message.sum.is_monotonic) == (
            2,
            instrument == "counter",
        )


def test_no_span_ends_before_it_starts() -> None:
    made = Span(EMPTY, b"t" * 16, b"s" * 8, b"", "x", SpanKind.INTERNAL, 20, 10, (), ())
    found = SpanMessage.FromString(encode.span(made))
    assert (found.start_time_unix_nano, found.end_time_unix_nano) == (20, 20)


def test_histograms() -> None:
    histogram = Histogram(3, 6.5, 0.5, 4.0, (1.0, 2.0), (1, 1, 1))
    message = MetricMessage.FromString(
        encode.metric(Metric("m", "histogram", "s", "d", (Point((), histogram),)), 1, 2)
    )
    point = message.histogram.data_points[0]
    assert (point.count, point.sum, point.min, point.max) == (3, 6.5, 0.5, 4.0)
    assert (list(point.explicit_bounds), list(point.bucket_counts)) == ([1.0, 2.0], [1, 1, 1])
    assert message.histogram.aggregation_temporality == 2
    delta = MetricMessage.FromString(
        encode.metric(Metric("m", "delta_histogram", "s", "d", (Point((), histogram),)), 1, 2)
    )
    assert delta.histogram.aggregation_temporality == 1


def test_the_envelope_groups_by_resource() -> None:
    first, second = (
        ResourceAttributes((("service.name", "a"),)),
        ResourceAttributes((("service.name", "b"),)),
    )
    record = encode.log_record(LogRecord(EMPTY, 1, 2, Severity.INFO, "e", "b", b"", b"", (), ()))
    raw = encode.Envelope("scope", "1.0", "https://schema").request(
        [(first, record), (second, record), (first, record)]
    )
    request = ExportLogsServiceRequest.FromString(raw)
    assert [len(r.scope_logs[0].log_records) for r in request.resource_logs] == [2, 1]
    assert [pairs(r.resource.attributes) for r in request.resource_logs] == [
        [("service.name", "a")],
        [("service.name", "b")],
    ]
    scope = request.resource_logs[0].scope_logs[0]
    assert (scope.scope.name, scope.scope.version, scope.schema_url) == (
        "scope",
        "1.0",
        "https://schema",
    )
    assert request.resource_logs[0].schema_url == "https://schema"


@given(st.integers(0, 2**64 - 1))
def test_varints(value: int) -> None:
    assert UInt64Value.FromString(b"\x08" + encode.varint(value)).value == value
