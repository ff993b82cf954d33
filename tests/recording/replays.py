"""A story that is recorded and replayed."""

from __future__ import annotations

from receiver.signals import LogRecord, Span


def shape(signals: list[LogRecord | Span]) -> list[object]:
    return [
        (
            s.attributes,
            tuple(b.items for b in s.shared),
            s.trace_id,
            s.span_id,
            getattr(s, "time_ns", 0),
        )
        for s in signals
    ]
