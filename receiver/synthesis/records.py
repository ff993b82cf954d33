"""Builds one log record, and keeps count of them for their uids."""

from __future__ import annotations

from receiver import semconv as sc
from receiver.signals import Attributes, Importance, LogRecord, ResourceAttributes, Severity, Value
from receiver.synthesis.resources import ResourceFactory
from receiver.text.printable import printable


class RecordBuilder:
    """Every record has a uid; `series` keeps the uids of two builders of one host apart."""

    def __init__(self, resources: ResourceFactory, series: str = "t") -> None:
        self._resources = resources
        self._series = series
        self._made = 0

    def _event(
        self,
        name: str,
        severity: Severity,
        body: str,
        *,
        at_ns: int,
        observed_ns: int,
        shared: tuple[ResourceAttributes, ...],
        items: Attributes,
        origin: str,
        importance: Importance,
        resource: ResourceAttributes,
        trace_id: bytes = b"",
        span_id: bytes = b"",
        event: str = "",
        incomplete: bool = False,
    ) -> LogRecord:
        self._made += 1
        extra: list[tuple[str, Value]] = [
            (sc.EVENT_NAME, name),
            (
                sc.LOG_RECORD_UID,
                f"{self._resources.host.session}-{event or self._series}-{self._made}",
            ),
            (sc.PIPELINE_LOG_ORIGIN, origin),
        ]
        if incomplete:
            extra.append((sc.PIPELINE_OBSERVER_INCOMPLETE, True))
        return LogRecord(
            resource=resource,
            time_ns=self._resources.wall(at_ns),
            observed_ns=self._resources.wall(observed_ns),
            severity=severity,
            event_name=name,
            body=printable(body),
            trace_id=trace_id,
            span_id=span_id if trace_id else b"",
            shared=shared,
            attributes=self._resources.cut((*items, *extra)),
            importance=importance,
        )
