"""An agent's request, a service that takes it in, and a call to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import grpc

from receiver import semconv as sc
from receiver.export import encode
from receiver.export.encode import Envelope
from receiver.insights.config import InsightsConfig
from receiver.insights.inbound import Inbound
from receiver.insights.runs import RemoteFact
from receiver.signals import EMPTY, LogRecord, ResourceAttributes, Severity

LOGS = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"

RESOURCE = ResourceAttributes(
    ((sc.HOST_NAME, "a"), (sc.HOST_IP, ("10.0.0.1", "fd00::1")), (sc.SERVICE_NAME, "x"))
)


def request() -> bytes:
    """As our own exporter writes it."""
    record = LogRecord(
        RESOURCE,
        5,
        6,
        Severity.ERROR,
        "process.killed",
        "It was killed.",
        b"\xab" * 16,
        b"\xcd" * 8,
        (EMPTY,),
        (
            (sc.EVENT_NAME, "process.killed"),
            (sc.LOG_RECORD_UID, "u1"),
            (sc.PROCESS_PID, 7),
            ("ratio", 0.5),
            ("yes", True),
        ),
    )
    return Envelope("receiver", "0", sc.SCHEMA_URL).request([(RESOURCE, encode.log_record(record))])


def check(record: RemoteFact) -> None:
    assert (record.host, record.addresses, record.uid, record.kind) == (
        "a",
        ("10.0.0.1", "fd00::1"),
        "u1",
        "process.killed",
    )
    assert (record.at_ns, record.severity, record.text, record.trace_id, record.span_id) == (
        5,
        17,
        "It was killed.",
        "ab" * 16,
        "cd" * 8,
    )
    assert record.number(sc.PROCESS_PID) == 7
    assert "ratio" not in record.values  # what nobody asks for is not kept


def serving(
    config: InsightsConfig, do: Callable[[Inbound, list[RemoteFact]], Coroutine[Any, Any, None]]
) -> None:
    async def main() -> None:
        got: list[RemoteFact] = []
        inbound = Inbound(config, lambda batch: got.extend(batch.facts))
        await inbound.start()
        try:
            await do(inbound, got)
        finally:
            await inbound.close()

    asyncio.run(main())


def call(channel: grpc.aio.Channel, method: str) -> Any:
    return channel.unary_unary(method)


ANY = InsightsConfig(grpc="127.0.0.1:0", http="127.0.0.1:0")
