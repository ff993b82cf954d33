"""The exported values, before any wire format: frozen spans, log records and metric points.

Times are Unix ns.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

Value = str | int | float | bool | tuple[str, ...]
Attributes = tuple[tuple[str, Value], ...]


class ResourceAttributes:
    """What describes one resource: the observed workload, a task, or a process.

    Many signals share it: it is made once and compared by identity. The encoder keeps the encoded
    form in `wire`.
    """

    __slots__ = ("items", "wire")

    def __init__(self, items: Attributes) -> None:
        self.items = items
        self.wire: dict[str, bytes] = {}


class Severity(IntEnum):
    """SeverityNumber of the OTel log data model: the smallest of each range."""

    DEBUG = 5
    INFO = 9
    WARN = 13
    ERROR = 17
    FATAL = 21


class Importance(IntEnum):
    """A full queue evicts the lowest importance first."""

    ROUTINE = 0  # heartbeats, spans of processes that succeeded
    NORMAL = 1  # starts, ends, spans of tasks and failures
    FINDING = 2


class SpanKind(IntEnum):
    """SpanKind of opentelemetry/proto/trace/v1."""

    INTERNAL = 1
    SERVER = 2


class SpanEvent(msgspec.Struct, frozen=True):
    time_ns: int
    name: str
    attributes: Attributes


class SpanLink(msgspec.Struct, frozen=True):
    trace_id: bytes
    span_id: bytes
    attributes: Attributes


class Span(msgspec.Struct, frozen=True):
    resource: ResourceAttributes
    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    name: str
    kind: SpanKind
    start_ns: int
    end_ns: int
    shared: tuple[ResourceAttributes, ...]  # of its task and of its process
    attributes: Attributes
    events: tuple[SpanEvent, ...] = ()
    links: tuple[SpanLink, ...] = ()
    error: str = ""  # status description; non-empty makes the status Error
    remote_parent: bool = False
    trace_state: str = ""
    importance: Importance = Importance.NORMAL


class LogRecord(msgspec.Struct, frozen=True):
    resource: ResourceAttributes
    time_ns: int
    observed_ns: int
    severity: Severity
    event_name: str
    body: str
    trace_id: bytes
    span_id: bytes
    shared: tuple[ResourceAttributes, ...]  # of its task and of its process
    attributes: Attributes
    importance: Importance = Importance.NORMAL


class Histogram(msgspec.Struct, frozen=True):
    count: int
    sum: float
    minimum: float
    maximum: float
    bounds: tuple[float, ...]
    buckets: tuple[int, ...]


class Point(msgspec.Struct, frozen=True):
    attributes: Attributes
    value: int | float | Histogram


class Metric(msgspec.Struct, frozen=True):
    """Cumulative. `instrument` is counter, updowncounter, gauge or histogram."""

    name: str
    instrument: str
    unit: str
    description: str
    points: tuple[Point, ...]


class MetricSnapshot(msgspec.Struct, frozen=True):
    resource: ResourceAttributes
    start_ns: int
    time_ns: int
    metrics: tuple[Metric, ...]
    importance: Importance = Importance.ROUTINE


OtlpSignal = Span | LogRecord
EMPTY = ResourceAttributes(())
