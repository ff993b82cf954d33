"""What is lost on its way leaves one record, and no more."""

from __future__ import annotations

import asyncio

import pytest

from receiver import semconv as sc
from receiver.export.hub import Hub
from receiver.export.settings import from_environment
from receiver.signals import LogRecord
from receiver.synthesis.logs import Logs
from receiver.synthesis.losses import LossRecords
from tests.builders import Story
from tests.export.fake import HttpFake, partial, until
from tests.export.pipelines import FAST, fill, finish, http_pipeline, records

MINUTE = 60_000_000_000


def losses_of(logs: list[LogRecord]) -> list[tuple[str, str, int]]:
    names = (
        sc.PIPELINE_OBSERVER_EVENT_KIND,
        sc.PIPELINE_OBSERVER_LOSS_REASON,
        sc.PIPELINE_OBSERVER_EVENTS_LOST,
    )
    return [tuple(dict(r.attributes)[name] for name in names) for r in logs]  # type: ignore[misc]


def test_a_loss_is_a_record_at_once_and_then_one_a_minute() -> None:
    due = LossRecords(Logs(Story().core.resources, "x"))
    assert losses_of(due.due({("logs", "http_400"): 10}, 1)) == [("log_record", "http_400", 10)]
    assert due.due({("logs", "http_400"): 10}, 2 * MINUTE) == []
    assert due.due({("logs", "http_400"): 0}, 3 * MINUTE) == []
    again = LossRecords(Logs(Story().core.resources, "x"))
    found = [
        r
        for second in range(181)
        for r in again.due({("traces", "http_400"): second + 1}, second * MINUTE // 60)
    ]
    assert losses_of(found) == [("span", "http_400", 1), *[("span", "http_400", 60)] * 3]
    assert losses_of(again.due({("traces", "http_400"): 190}, 181 * MINUTE // 60, last=True)) == [
        ("span", "http_400", 9)
    ]
    assert found[0].body == "1 span could not be delivered and will not come (http_400)."


@pytest.mark.parametrize(
    "answer", [(400, {}, b"no"), (200, {"Content-Type": "application/x-protobuf"}, partial(2**40))]
)
async def test_a_lost_record_of_a_loss_leads_to_no_other(
    answer: tuple[int, dict[str, str], bytes],
) -> None:
    """Everything is refused, and each loss is reported into the same refusal."""
    fake = HttpFake()
    fake.script += [answer] * 100
    await fake.start()
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://localhost:{fake.port}",
        "OTEL_BLRP_SCHEDULE_DELAY": "10",
    }
    hub = Hub(
        from_environment(
            variables | {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}
        ),
        "0",
    )
    due, made = LossRecords(Logs(Story().core.resources, "x")), 0

    def settled() -> bool:
        return pipeline.failed.total() + pipeline.rejected == 5 + made

    hub.start()
    (pipeline,) = hub.pipelines
    hub.put(records(5))
    await until(settled)
    for minute in range(1, 20):
        for record in due.due(hub.losses(), minute * MINUTE):
            made += 1
            hub.put_loss(record)
        await until(settled)
    await hub.shutdown(2)
    await fake.stop()
    assert made == 1
    assert hub.losses() == {("logs", "http_400" if answer[0] == 400 else "partial_success"): 5}


async def test_a_loss_record_is_as_the_registry_says() -> None:
    fake = HttpFake()
    await fake.start()
    pipeline = http_pipeline(fake.port, FAST)
    record = LossRecords(Logs(Story().core.resources, "x")).due({("logs", "http_400"): 10}, 1)[0]
    fill(pipeline, [record])
    task = asyncio.create_task(pipeline.run())
    await until(lambda: pipeline.exported == 1)
    await finish(pipeline, task)
    await fake.stop()
    assert fake.accepted == [f"{Story().core.host.session}-x-1"]
