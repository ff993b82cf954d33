"""Pipelines to a fake collector, what they are given, and their end."""

from __future__ import annotations

import asyncio
from typing import Any

from receiver.export.encode import Envelope, log_record
from receiver.export.options import BatchSettings, OtlpSettings
from receiver.export.otlp_grpc import GrpcTransport
from receiver.export.otlp_http import HttpTransport
from receiver.export.outcome import Backoff
from receiver.export.pipeline import Pipeline
from receiver.semconv import SCHEMA_URL
from receiver.signals import LogRecord
from tests.builders import Story

FAST = BatchSettings(delay_seconds=0.01, batch_items=10)


def records(count: int) -> list[LogRecord]:
    """Real findings, so that the live check can look at what is sent."""
    story = Story()
    while len(story.logs) < count:
        root = story.command("bash")
        story.exit(root, 1)
    return story.logs[:count]


def uid(record: LogRecord) -> str:
    return str(dict(record.attributes)["log.record.uid"])


def envelope() -> Envelope:
    return Envelope("receiver", "0", SCHEMA_URL)


def quick(pipeline: Pipeline) -> Pipeline:
    """With waits of a hundredth of what they are."""
    pipeline.new_backoff = lambda: Backoff(0.01)
    return pipeline


def grpc_pipeline(port: int, batch: BatchSettings = FAST, **other: Any) -> Pipeline:
    where = f"localhost:{port}"
    settings = OtlpSettings("logs", "grpc", where, False, timeout_seconds=2.0, **other)
    return quick(
        Pipeline(
            "logs", GrpcTransport(settings, "kwitness/0"), batch, envelope(), "otlp_grpc_exporter"
        )
    )


def http_pipeline(port: int, batch: BatchSettings = FAST, **other: Any) -> Pipeline:
    where = f"http://localhost:{port}/v1/logs"
    settings = OtlpSettings(
        "logs", "http/protobuf", where, False, **{"timeout_seconds": 2.0} | other
    )
    return quick(
        Pipeline(
            "logs", HttpTransport(settings, "kwitness/0"), batch, envelope(), "otlp_http_exporter"
        )
    )


def fill(pipeline: Pipeline, what: list[LogRecord]) -> list[str]:
    for record in what:
        pipeline.put(record.resource, log_record(record), record.importance)
    return [uid(r) for r in what]


async def finish(pipeline: Pipeline, task: asyncio.Task[None], seconds: float = 5.0) -> None:
    await pipeline.shutdown(seconds)
    await task
    await pipeline.close()
    account = (
        pipeline.exported
        + pipeline.rejected
        + pipeline.failed.total()
        + pipeline.queue.dropped.total()
        + len(pipeline.queue)
    )
    assert account == pipeline.queue.enqueued
