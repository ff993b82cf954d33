"""Exporters that take everything at once: encoding, queue and envelope are measured,
a network is not."""

from __future__ import annotations

from receiver.export.encode import Envelope
from receiver.export.hub import Hub
from receiver.export.options import SIGNALS, BatchSettings
from receiver.export.outcome import Accepted, Outcome
from receiver.export.pipeline import Pipeline
from receiver.export.settings import from_environment
from receiver.semconv import SCHEMA_URL

NOTHING = {
    "OTEL_TRACES_EXPORTER": "none",
    "OTEL_LOGS_EXPORTER": "none",
    "OTEL_METRICS_EXPORTER": "none",
}


class Sink:
    def __init__(self) -> None:
        self.bytes = 0

    async def send(self, body: bytes) -> Outcome:
        self.bytes += len(body)
        return Accepted()

    async def close(self) -> None: ...


def sink_hub() -> tuple[Hub, list[Sink]]:
    hub, sinks = Hub(from_environment(NOTHING), "bench"), [Sink() for _ in SIGNALS]
    for signal, sink in zip(SIGNALS, sinks, strict=True):
        pipeline = Pipeline(
            signal, sink, BatchSettings(), Envelope("receiver", "0", SCHEMA_URL), "sink"
        )
        hub.pipelines.append(pipeline)
        hub._by_signal[signal].append(pipeline)
    return hub, sinks
