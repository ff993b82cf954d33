"""Pools of connections: idle, full, exhausted."""

from __future__ import annotations

import pytest

from receiver import semconv as sc
from receiver.events import (
    Connection,
    ConnectionFlag,
    ConnectionStage,
    ProcessKey,
)
from receiver.model import CoreOptions
from tests.builders import Story, attributes
from tests.facts.records import connection, exhausted, look, sampled


def test_an_idle_pool_is_no_stall() -> None:
    story = Story(CoreOptions(stall_seconds=5))
    client = story.task("load")
    connection(story, client, 5, ConnectionStage.CONNECTED)
    for _ in range(10):
        look(
            story,
            (
                Connection,
                client,
                sampled(5, last_send_boottime_ns=100, last_receive_boottime_ns=200),
            ),
        )
    assert story.events(sc.EVENT_NETWORK_CONNECTION_STALLED) == []


def test_a_server_that_waits_for_its_clients_is_no_stall() -> None:
    story = Story(CoreOptions(stall_seconds=5))
    server = story.task("serve")
    flags = ConnectionFlag.ACCEPTED
    connection(story, server, 5, ConnectionStage.CONNECTED, connection_flags=flags)
    for _ in range(10):
        look(
            story,
            (Connection, server, sampled(5, last_send_boottime_ns=200, connection_flags=flags)),
        )
    assert story.events(sc.EVENT_NETWORK_CONNECTION_STALLED) == []


def full_pool(story: Story, client: ProcessKey, count: int, seconds: int) -> None:
    """All of its connections owe it answers for so long."""
    for number in range(1, count + 1):
        connection(story, client, number, ConnectionStage.CONNECTED)
    asked = story.now
    for _ in range(seconds):
        look(
            story,
            *(
                (Connection, client, sampled(n, last_send_boottime_ns=asked))
                for n in range(1, count + 1)
            ),
        )


def test_slots_that_are_all_held_and_taken_again_at_once() -> None:
    story = Story(CoreOptions(stall_seconds=1000))
    client = story.task("load")
    full_pool(story, client, 4, 8)
    connection(story, client, 2, ConnectionStage.CLOSED)
    connection(story, client, story.now + 1, ConnectionStage.CONNECTED)
    assert exhausted(story) == ["connection_slots"]
    (record,) = story.events(sc.EVENT_NETWORK_CONNECTION_EXHAUSTED)
    found = attributes(record)
    assert (found[sc.NETWORK_EXHAUSTION_LIMIT], found[sc.NETWORK_EXHAUSTION_USED]) == (4, 4)
    assert float(str(found[sc.NETWORK_EXHAUSTION_DURATION])) >= 5


@pytest.mark.parametrize(("seconds", "pause"), [(2, 0), (8, 5)])
def test_a_short_plateau_or_a_late_next_use_is_no_exhaustion(seconds: int, pause: int) -> None:
    story = Story(CoreOptions(stall_seconds=1000))
    client = story.task("load")
    full_pool(story, client, 4, seconds)
    connection(story, client, 2, ConnectionStage.CLOSED)
    story.step(pause * 1000)
    connection(story, client, story.now + 1, ConnectionStage.CONNECTED)
    assert exhausted(story) == []
