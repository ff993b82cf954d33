"""Failures that come again and again are a few records with counts, and no failure is in
none of them."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from receiver import semconv as sc
from receiver.events import Connection, ConnectionFlag, ConnectionStage, NameQuery, ProcessKey
from receiver.observe import refusals, repeats
from receiver.signals import LogRecord
from tests.builders import Story, attributes

SERVER = int.from_bytes(bytes([10, 0, 0, 5]), "little")


def fails(
    story: Story,
    key: ProcessKey,
    error: int,
    port: int = 443,
    stage: ConnectionStage = ConnectionStage.FAILED,
) -> None:
    values: dict[str, Any] = {
        "connection_id": story.now,
        "family": 2,
        "peer_low": SERVER,
        "peer_port": port,
        "state": 1,
        "error": error,
    }
    if stage == ConnectionStage.CLOSED:
        values |= {
            "established_boottime_ns": story.now,
            "connection_flags": ConnectionFlag.RESET_BY_PEER,
        }
    story.fact(Connection, key, stage=stage, **values)


def failures(story: Story) -> list[LogRecord]:
    return story.events(sc.EVENT_NETWORK_CONNECTION_FAILED)


def counts(records: list[LogRecord]) -> list[int]:
    found = (attributes(r).get(sc.PIPELINE_REPEAT_COUNT, 1) for r in records)
    return [int(count) for count in found]  # type: ignore[arg-type]


def total(story: Story) -> int:
    """What the metric says."""
    (metric,) = [
        m for m in story.core.metrics() if m.name == sc.METRIC_PIPELINE_NETWORK_FAILURES[0]
    ]
    return sum(point.value for point in metric.points if isinstance(point.value, int))


@pytest.mark.parametrize("ports", [1, 2, 300, 5000])
@pytest.mark.parametrize("error", [errno.ECONNREFUSED, errno.ETIMEDOUT, errno.EHOSTUNREACH])
def test_thousands_of_failed_connects_are_a_few_records(error: int, ports: int) -> None:
    story = Story()
    client = story.task("load")
    for number in range(5000):
        fails(story, client, error, port=1 + number % ports)
    story.exit(client, 1)
    found = failures(story)
    assert len(found) <= 2 * (repeats.KINDS + 1)
    assert sum(counts(found)) == 5000 == total(story)


def test_refused_connects_of_a_process_that_goes_on_are_counted_by_the_minute() -> None:
    story = Story()
    client = story.task("load")
    for _ in range(300):
        for _ in range(10):
            fails(story, client, errno.ECONNREFUSED)
        story.tick(0.99)
    records = failures(story)
    assert 4 <= len(records) <= 8
    assert all(count > 100 for count in counts(records))
    story.exit(client)
    assert sum(counts(failures(story))) == 3000 == total(story)


def test_a_record_states_the_first_and_the_last_time() -> None:
    story = Story()
    client = story.task("load")
    for _ in range(4):
        fails(story, client, errno.ETIMEDOUT)
        story.step(2000)
    story.exit(client)
    first, rest = failures(story)
    found = attributes(rest)
    assert found[sc.PIPELINE_REPEAT_COUNT] == 3
    assert found[sc.PIPELINE_REPEAT_DURATION] == pytest.approx(4.002)
    assert rest.time_ns - first.time_ns == pytest.approx(6.003e9)
    assert "It is one of 3 such failures within 4.0 s." in rest.body


def test_endpoints_errors_and_processes_are_counted_apart() -> None:
    story = Story()
    clients = [story.task("load"), story.task("store")]
    for _ in range(3):
        for client in clients:
            for port in (1, 2):
                for error in (errno.ETIMEDOUT, errno.EHOSTUNREACH):
                    fails(story, client, error, port)
    for client in clients:
        story.exit(client)
    assert sorted(counts(failures(story))) == [1] * 8 + [2] * 8


def test_resets_are_folded_too() -> None:
    story = Story()
    client = story.task("load")
    for _ in range(1000):
        fails(story, client, errno.ECONNRESET, stage=ConnectionStage.CLOSED)
    story.exit(client)
    assert counts(failures(story)) == [1, 999]


def test_questions_without_an_answer_are_folded_too() -> None:
    story = Story()
    client = story.task("load")
    for number in range(500):
        for name in ("\x02db", "\x05cache"):
            story.fact(
                NameQuery,
                client,
                family=2,
                server_low=SERVER,
                port=53,
                query_id=number,
                labels=name,
                question_type=1,
            )
    story.tick(10)
    story.exit(client, 1)
    assert sorted(counts(failures(story))) == [1, 1, 499, 499]


def test_what_is_counted_leaves_when_the_observer_stops() -> None:
    story = Story()
    client = story.task("load")
    for _ in range(10):
        fails(story, client, errno.ETIMEDOUT)
    story.finish()
    assert counts(failures(story)) == [1, 9]


@pytest.mark.parametrize("error", [errno.ECONNREFUSED, errno.ETIMEDOUT])
@pytest.mark.parametrize("before", [0, 5])
def test_failures_that_are_read_after_the_end_of_their_process_are_counted(
    error: int, before: int
) -> None:
    """Ends and connections come by two rings."""
    story = Story()
    client = story.task("load")
    fails(story, client, errno.EHOSTUNREACH, port=1)
    for _ in range(before):
        fails(story, client, error)
    story.exit(client, 1)
    for _ in range(7):
        fails(story, client, error)
    story.finish()
    assert sum(counts(failures(story))) == 1 + before + 7
    assert len(failures(story)) <= 4


def test_a_success_takes_the_refusals_before_it_back_and_no_later_ones() -> None:
    story = Story()
    client = story.task("load")
    for _ in range(5):
        fails(story, client, errno.ECONNREFUSED)
    story.fact(
        Connection,
        client,
        stage=ConnectionStage.CONNECTED,
        connection_id=story.now,
        family=2,
        peer_low=SERVER,
        peer_port=443,
        established_boottime_ns=story.now,
    )
    for _ in range(7):
        fails(story, client, errno.ECONNREFUSED)
    story.exit(client, 1)
    assert counts(failures(story)) == [7]


@pytest.mark.parametrize(("status", "reported"), [(0, 0), (1, 1)])
def test_a_refusal_after_the_server_of_the_same_work_was_shut_down_is_normal(
    status: int, reported: int
) -> None:
    story = Story()
    client = story.task("load")
    server = story.spawn(client, "server")
    story.fact(
        Connection,
        server,
        stage=ConnectionStage.CONNECTED,
        connection_id=story.now,
        family=2,
        local_port=443,
        peer_port=50_000,
        established_boottime_ns=story.now,
        connection_flags=ConnectionFlag.ACCEPTED,
    )
    story.exit(server, status)
    fails(story, client, errno.ECONNREFUSED)
    story.exit(client, 0)
    assert len(failures(story)) == reported


def test_the_table_of_repeats_is_bounded_and_says_what_it_forgets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(repeats, "PROCESSES", 8)
    monkeypatch.setattr(refusals, "KEPT_REFUSALS", 4)
    story = Story()
    clients = [story.task(f"load{number}") for number in range(20)]
    for _ in range(3):
        for client in clients:  # none of them has ended
            fails(story, client, errno.ETIMEDOUT)
            fails(story, client, errno.ECONNREFUSED)
    for client in clients:
        story.exit(client)
    assert story.core.activity.drops()["forgotten_failures"] > 0
    assert sum(counts(failures(story))) == 120
