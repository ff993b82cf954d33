"""Builds one log record, and keeps count of them for their uids."""

from __future__ import annotations

from receiver import semconv as sc
from receiver.signals import Attributes, Block, Importance, LogRecord, Severity, Value
from receiver.synthesis.blocks import Blocks
from receiver.text.printable import printable


class RecordBuilder:
    """Every record has a uid; `series` keeps the uids of two builders of one host apart."""

    def __init__(self, blocks: Blocks, series: str = "t") -> None:
        self._blocks = blocks
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
        blocks: tuple[Block, ...],
        items: Attributes,
        origin: str,
        importance: Importance,
        resource: Block,
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
                f"{self._blocks.host.session}-{event or self._series}-{self._made}",
            ),
            (sc.PIPELINE_LOG_ORIGIN, origin),
        ]
        if incomplete:
            extra.append((sc.PIPELINE_OBSERVER_INCOMPLETE, True))
        return LogRecord(
            resource=resource,
            time_ns=self._blocks.wall(at_ns),
            observed_ns=self._blocks.wall(observed_ns),
            severity=severity,
            event_name=name,
            body=printable(body),
            trace_id=trace_id,
            span_id=span_id if trace_id else b"",
            blocks=blocks,
            attributes=self._blocks.cut((*items, *extra)),
            importance=importance,
        )
