"""What bounds a delivery: the size of a request, an answer and the queue, and the shutdown."""

from __future__ import annotations

import asyncio

from aiohttp import web

from receiver.export.encode import log_record
from receiver.export.options import BatchSettings, OtlpSettings
from receiver.export.otlp_http import HttpTransport
from receiver.export.pipeline import Pipeline
from receiver.export.queue import ImportanceQueue, Item
from receiver.signals import EMPTY, Importance, ResourceAttributes
from tests.export.fake import GrpcFake, HttpFake, until
from tests.export.pipelines import (
    FAST,
    envelope,
    fill,
    finish,
    grpc_pipeline,
    http_pipeline,
    records,
)


async def test_too_large_is_split_until_it_fits() -> None:
    one = len(log_record(records(1)[0]))
    fake = GrpcFake(max_bytes=one * 4)
    await fake.start()
    pipeline = grpc_pipeline(fake.port, BatchSettings(delay_seconds=0.01, batch_items=64))
    sent = fill(pipeline, records(30))
    task = asyncio.create_task(pipeline.run())
    await until(lambda: pipeline.exported == 30)
    await finish(pipeline, task)
    await fake.stop()
    assert sorted(fake.accepted) == sorted(sent)


async def test_one_record_that_is_too_large_is_counted() -> None:
    fake = HttpFake(max_bytes=10)
    await fake.start()
    pipeline = http_pipeline(fake.port)
    fill(pipeline, records(2))
    task = asyncio.create_task(pipeline.run())
    await until(lambda: pipeline.failed["too_large"] == 2)
    await finish(pipeline, task)
    await fake.stop()


async def test_a_server_that_never_answers_does_not_hold_the_shutdown() -> None:
    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        writer.close()

    server = await asyncio.start_server(swallow, "localhost", 0)
    settings = OtlpSettings(
        "logs",
        "http/protobuf",
        f"http://localhost:{server.sockets[0].getsockname()[1]}/",
        False,
        timeout_seconds=0.2,
    )
    pipeline = Pipeline(
        "logs", HttpTransport(settings, "k"), FAST, envelope(), "otlp_http_exporter"
    )
    fill(pipeline, records(3))
    task = asyncio.create_task(pipeline.run())
    await until(lambda: pipeline.retries["timeout"] >= 1)
    await finish(pipeline, task, seconds=0.3)
    server.close()
    await server.wait_closed()
    assert pipeline.failed["shutdown"] == 3


async def test_an_endless_answer_is_cut() -> None:
    fake = HttpFake()
    fake.script.append(
        lambda: web.Response(body=b"x" * (5 << 20), content_type="application/x-protobuf")
    )
    await fake.start()
    pipeline = http_pipeline(fake.port)
    fill(pipeline, records(1))
    task = asyncio.create_task(pipeline.run())
    await until(lambda: pipeline.failed["bad_response"] == 1)
    await finish(pipeline, task)
    await fake.stop()


def test_a_full_queue_drops_the_least_important_first_and_counts() -> None:
    queue = ImportanceQueue(3, 1000)
    for importance in (
        Importance.ROUTINE,
        Importance.FINDING,
        Importance.ROUTINE,
        Importance.FINDING,
        Importance.NORMAL,
    ):
        queue.put(Item(EMPTY, importance.name.encode(), importance))
    assert queue.dropped == {"routine": 2}
    assert [i[2] for i in queue.take(10, 1000)] == [
        Importance.FINDING,
        Importance.FINDING,
        Importance.NORMAL,
    ]
    assert queue.bytes == 0


def test_the_queue_bounds_bytes_too() -> None:
    queue = ImportanceQueue(100, 10)
    attributes = ResourceAttributes(())
    for _ in range(3):
        queue.put(Item(attributes, b"x" * 4, Importance.FINDING))
    queue.put(Item(attributes, b"y" * 4, Importance.ROUTINE))
    queue.put(Item(attributes, b"z" * 11, Importance.FINDING))
    assert (len(queue), queue.bytes) == (2, 8)  # what can never fit pushes nothing else out
    assert queue.dropped == {"finding": 2, "routine": 1}
    assert queue.enqueued == 5
