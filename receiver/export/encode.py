"""Encodes signals to OTLP protobuf bytes, by hand.

Protobuf messages may be concatenated: the elements of a repeated field are independent runs of
bytes. So the encoded form of shared attributes is kept with them, and a record is one
join. tests/export/test_encode.py parses every output with the generated classes of
opentelemetry-proto and compares. Field numbers: opentelemetry-proto 1.10.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct

from receiver.signals import (
    Attributes,
    Histogram,
    LogRecord,
    Metric,
    MetricSnapshot,
    ResourceAttributes,
    Span,
    SpanEvent,
    SpanLink,
    Value,
)

_FIXED64 = Struct("<Q").pack
_DOUBLE = Struct("<d").pack
# severity_number and severity_text, encoded
_SEVERITY = {
    n: bytes((0x10, n, 0x1A, len(t))) + t
    for n, t in ((5, b"DEBUG"), (9, b"INFO"), (13, b"WARN"), (17, b"ERROR"), (21, b"FATAL"))
}
_SAMPLED = 0x01
_REMOTE_KNOWN, _REMOTE = 0x100, 0x200
_DELTA, _CUMULATIVE = 1, 2  # AggregationTemporality
_KEYS: dict[str, tuple[bytes, int]] = {}
_KEYS_LIMIT = 1024
# Encoded pairs of short strings, by field number: most are enum values. A full table is cleared.
_PAIRS: dict[int, dict[tuple[str, Value], bytes]] = {}
_PAIRS_LIMIT = 2048
_PAIR_BYTES = 32
_UINT64 = 0xFFFFFFFFFFFFFFFF
_SMALL = tuple(bytes((n,)) for n in range(128))  # one-byte varints


def varint(value: int) -> bytes:
    """Base 128, least significant group first."""
    if value < 0x80:
        return _SMALL[value]
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, payload: bytes) -> bytes:
    """A length-delimited field."""
    size = len(payload)
    if size < 0x80 and number < 16:
        return bytes((number << 3 | 2, size)) + payload
    return varint(number << 3 | 2) + varint(size) + payload


def _value(value: Value) -> bytes:
    """AnyValue: string=1, bool=2, int=3, double=4, array=5."""
    kind = type(value)
    if kind is str:
        raw = value.encode("utf-8", "replace")  # type: ignore[union-attr]
        size = len(raw)
        return (bytes((0x0A, size)) if size < 0x80 else b"\x0a" + varint(size)) + raw
    if kind is bool:
        return b"\x10\x01" if value else b"\x10\x00"
    if kind is int:
        return b"\x18" + varint(value & _UINT64)  # type: ignore[operator]
    if kind is float:
        return b"\x21" + _DOUBLE(value)
    if isinstance(value, int):  # enums
        return b"\x18" + varint(int(value) & _UINT64)
    assert isinstance(value, tuple)
    return _field(5, b"".join(_field(1, _value(v)) for v in value))


def _key(name: str) -> tuple[bytes, int]:
    """KeyValue.key and its length, cached: all names come from the registry, so there are few."""
    found = _KEYS.get(name)
    if found is None:
        raw = _field(1, name.encode())
        found = (raw, len(raw))
        if len(_KEYS) < _KEYS_LIMIT:
            _KEYS[name] = found
    return found


def key_values(items: Attributes, number: int) -> bytes:
    """Repeated KeyValue under the given field number of the enclosing message."""
    out: list[bytes] = []
    tag = _SMALL[number << 3 | 2]
    add = out.extend
    small, keys = _SMALL, _KEYS  # locals: this is the hottest loop of the exporter
    pairs = _PAIRS.setdefault(number, {})
    for item in items:
        name, value = item
        if type(value) is str:
            known = pairs.get(item)
            if known is not None:
                out.append(known)
                continue
        key, key_size = keys.get(name) or _key(name)
        if type(value) is str:
            raw = value.encode("utf-8", "replace")
            size = len(raw)
            # AnyValue of size + 2 bytes: every length except the pair's fits one byte
            if size < 120:
                pair = key_size + size + 4
                head = small[pair] if pair < 128 else varint(pair)
                encoded = b"".join(
                    (tag, head, key, b"\x12", small[size + 2], b"\x0a", small[size], raw)
                )
                if size < _PAIR_BYTES:
                    if len(pairs) >= _PAIRS_LIMIT:
                        pairs.clear()
                    pairs[item] = encoded
                out.append(encoded)
                continue
        raw = b"\x18" + varint(value & _UINT64) if type(value) is int else _value(value)
        size = len(raw)
        if size < 128:
            pair = key_size + size + 2
            add((tag, small[pair] if pair < 128 else varint(pair), key, b"\x12", small[size], raw))
        else:
            add(
                (
                    tag,
                    varint(key_size + 1 + len(varint(size)) + size),
                    key,
                    b"\x12",
                    varint(size),
                    raw,
                )
            )
    return b"".join(out)


def _shared(shared: ResourceAttributes, number: int, slot: str) -> bytes:
    wire = shared.wire.get(slot)
    if wire is None:
        wire = shared.wire[slot] = key_values(shared.items, number)
    return wire


def log_record(record: LogRecord) -> bytes:
    """opentelemetry.proto.logs.v1.LogRecord, without its envelope."""
    body = _value(record.body)
    parts = [
        b"\x09",
        _FIXED64(record.time_ns),
        _SEVERITY[record.severity],
        b"\x2a",
        varint(len(body)),
        body,
    ]
    for each in record.shared:
        parts.append(each.wire.get("log") or _shared(each, 6, "log"))
    parts.append(key_values(record.attributes, 6))
    if record.trace_id:
        parts += (b"\x45\x01\x00\x00\x00\x4a\x10", record.trace_id)
    if record.span_id:
        parts += (b"\x52\x08", record.span_id)
    name = record.event_name.encode()
    parts += (b"\x59", _FIXED64(record.observed_ns), b"\x62", varint(len(name)), name)
    return b"".join(parts)


def _span_event(event: SpanEvent) -> bytes:
    return (
        b"\x09"
        + _FIXED64(event.time_ns)
        + _field(2, event.name.encode())
        + key_values(event.attributes, 3)
    )


def _link(link: SpanLink) -> bytes:
    return b"\x0a\x10" + link.trace_id + b"\x12\x08" + link.span_id + key_values(link.attributes, 4)


def span(span: Span) -> bytes:
    """opentelemetry.proto.trace.v1.Span, without its envelope."""
    flags = _SAMPLED | _REMOTE_KNOWN | (_REMOTE if span.remote_parent else 0)
    parts = [b"\x0a\x10", span.trace_id, b"\x12\x08", span.span_id]
    if span.trace_state:
        parts.append(_field(3, span.trace_state.encode("utf-8", "replace")))
    if span.parent_id:
        parts += (b"\x22\x08", span.parent_id)
    parts += (_field(5, span.name.encode("utf-8", "replace")), b"\x30", bytes((span.kind,)))
    # after a clock was set back, or in a damaged recording: no span ends before it starts
    parts += (b"\x39", _FIXED64(span.start_ns), b"\x41", _FIXED64(max(span.start_ns, span.end_ns)))
    for each in span.shared:
        parts.append(each.wire.get("span") or _shared(each, 9, "span"))
    parts.append(key_values(span.attributes, 9))
    parts += [_field(11, _span_event(e)) for e in span.events]
    parts += [_field(13, _link(link)) for link in span.links]
    if span.error:
        parts.append(_field(15, _field(2, span.error.encode("utf-8", "replace")) + b"\x18\x02"))
    parts += (b"\x85\x01", flags.to_bytes(4, "little"))
    return b"".join(parts)


def metric(metric: Metric, start_ns: int, time_ns: int) -> bytes:
    """opentelemetry.proto.metrics.v1.Metric, without its envelope."""
    head = (
        _field(1, metric.name.encode())
        + _field(2, metric.description.encode())
        + _field(3, metric.unit.encode())
    )
    times = b"\x11" + _FIXED64(start_ns) + b"\x19" + _FIXED64(time_ns)
    points = []
    for point in metric.points:
        if isinstance(point.value, Histogram):
            points.append(
                _field(1, key_values(point.attributes, 9) + times + _histogram(point.value))
            )
            continue
        number = (
            b"\x21" + _DOUBLE(point.value)
            if isinstance(point.value, float)
            else b"\x31" + (point.value & (1 << 64) - 1).to_bytes(8, "little")
        )
        points.append(_field(1, key_values(point.attributes, 7) + times + number))
    data = b"".join(points)
    instrument = metric.instrument.removeprefix("delta_")
    temporality = b"\x10" + bytes((_CUMULATIVE if instrument == metric.instrument else _DELTA,))
    if instrument == "histogram":
        return head + _field(9, data + temporality)
    if instrument == "gauge":
        return head + _field(5, data)
    return head + _field(7, data + temporality + (b"\x18\x01" if instrument == "counter" else b""))


def _histogram(value: Histogram) -> bytes:
    counts = b"".join(_FIXED64(b) for b in value.buckets)
    bounds = b"".join(_DOUBLE(b) for b in value.bounds)
    ends = (
        b"\x59" + _DOUBLE(value.minimum) + b"\x61" + _DOUBLE(value.maximum) if value.count else b""
    )
    return (
        b"\x21"
        + _FIXED64(value.count)
        + b"\x29"
        + _DOUBLE(value.sum)
        + _field(6, counts)
        + _field(7, bounds)
        + ends
    )


class Envelope:
    """Wraps encoded items in Resource* > Scope* of an Export*ServiceRequest.

    One instance per signal.

    All three signals have the same shape: request.1 = resource_x, resource_x.{1 resource, 2
    scope_x, 3 schema_url}, scope_x.{1 scope, 2 item, 3 schema_url}.
    """

    def __init__(self, scope_name: str, scope_version: str, schema_url: str) -> None:
        self._scope = _field(1, _field(1, scope_name.encode()) + _field(2, scope_version.encode()))
        self._schema = _field(3, schema_url.encode())

    def request(self, items: Iterable[tuple[ResourceAttributes, bytes]]) -> bytes:
        """One request of items, grouped by resource (by identity), in order of appearance."""
        groups: dict[int, tuple[ResourceAttributes, list[bytes]]] = {}
        for resource, item in items:
            group = groups.get(id(resource))
            if group is None:
                group = groups[id(resource)] = (resource, [])
            group[1].append(_field(2, item))
        out = []
        for resource, encoded in groups.values():
            scope = _field(2, self._scope + b"".join(encoded) + self._schema)
            out.append(
                _field(1, _field(1, _shared(resource, 1, "resource")) + scope + self._schema)
            )
        return b"".join(out)


def snapshot_items(snapshot: MetricSnapshot) -> list[tuple[ResourceAttributes, bytes]]:
    return [
        (snapshot.resource, metric(m, snapshot.start_ns, snapshot.time_ns))
        for m in snapshot.metrics
        if m.points
    ]
