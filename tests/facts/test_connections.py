"""Connections: refused, reset, silent, waiting in queues, out of ports."""

from __future__ import annotations

import errno

import pytest

from receiver import semconv as sc
from receiver.events import (
    CallFailed,
    CallKind,
    Connection,
    ConnectionFlag,
    ConnectionStage,
    SubjectKind,
)
from receiver.facts import connections, peers
from receiver.model import CoreOptions
from tests.builders import Story, attributes
from tests.facts.records import SERVER, connection, exhausted, look, sampled


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (errno.ECONNREFUSED, "refused"),
        (errno.ETIMEDOUT, "timeout"),
        (errno.EHOSTUNREACH, "unreachable"),
    ],
)
def test_a_connection_that_is_never_made(error: int, word: str) -> None:
    story = Story()
    client = story.task("load")
    for number in range(3):
        connection(
            story, client, story.now + number, ConnectionStage.FAILED, error=error, retransmits=2
        )
    story.exit(client)
    record, *again = story.events(sc.EVENT_NETWORK_CONNECTION_FAILED)
    found = attributes(record)
    if error == errno.ECONNREFUSED:  # it waited for a success: one record for all three
        assert (found[sc.PIPELINE_REPEAT_COUNT], again) == (3, [])
    else:  # at once, and the later ones counted
        assert sc.PIPELINE_REPEAT_COUNT not in found
        assert [attributes(r)[sc.PIPELINE_REPEAT_COUNT] for r in again] == [2]
    execution = story.core.tree.get(client).execution  # type: ignore[union-attr]
    assert len(execution.findings) == 1  # type: ignore[union-attr]
    assert (found[sc.ERROR_TYPE], found[sc.NETWORK_PEER_ADDRESS], found[sc.NETWORK_PEER_PORT]) == (
        word,
        "10.0.0.5",
        443,
    )
    assert next(iter(story.core.facts.peers.of(client).peers.values())).failed[word] == 3


def test_one_of_several_connects_that_lost_the_race_is_nothing() -> None:
    story = Story()
    client = story.task("load")
    connection(story, client, story.now, ConnectionStage.FAILED)
    assert story.events(sc.EVENT_NETWORK_CONNECTION_FAILED) == []


def test_a_reset_with_an_answer_owed() -> None:
    story = Story()
    client = story.task("load")
    connection(story, client, 5, ConnectionStage.CONNECTED)
    connection(
        story,
        client,
        5,
        ConnectionStage.CLOSED,
        connection_flags=ConnectionFlag.RESET_BY_PEER,
        last_send_boottime_ns=story.now,
    )
    (record,) = story.events(sc.EVENT_NETWORK_CONNECTION_FAILED)
    assert attributes(record)[sc.ERROR_TYPE] == "reset"


def test_a_reset_after_all_was_answered_is_a_way_to_close() -> None:
    story = Story()
    client = story.task("load")
    connection(story, client, 5, ConnectionStage.CONNECTED)
    connection(
        story,
        client,
        5,
        ConnectionStage.CLOSED,
        connection_flags=ConnectionFlag.RESET_BY_PEER,
        last_send_boottime_ns=100,
        last_receive_boottime_ns=200,
    )
    assert story.events(sc.EVENT_NETWORK_CONNECTION_FAILED) == []


def test_a_silent_peer_stalls_once_and_its_time_is_measured() -> None:
    story = Story(CoreOptions(stall_seconds=5))
    client = story.task("load")
    connection(story, client, 5, ConnectionStage.CONNECTED)
    asked = story.now
    for _ in range(12):
        look(story, (Connection, client, sampled(5, last_send_boottime_ns=asked, sent_bytes=40)))
    (record,) = story.events(sc.EVENT_NETWORK_CONNECTION_STALLED)
    found = attributes(record)
    assert (
        5 <= float(str(found[sc.NETWORK_STALL_DURATION])) < 6.1
        and found[sc.NETWORK_STALL_BYTES] == 40
    )
    look(
        story,
        (
            Connection,
            client,
            sampled(5, last_send_boottime_ns=asked, last_receive_boottime_ns=story.now),
        ),
    )
    (metric,) = [
        m for m in story.core.metrics() if m.name == sc.METRIC_PIPELINE_NETWORK_STALL_TIME[0]
    ]
    assert metric.points[0].value.count == 1  # type: ignore[union-attr]


def test_a_query_is_no_incident_until_it_takes_too_long_and_none_when_it_comes_back() -> None:
    story = Story()
    client = story.task("load")
    connection(story, client, 5, ConnectionStage.CONNECTED)
    asked, opened_at = story.now, 0
    for second in range(1, 131):
        look(story, (Connection, client, sampled(5, last_send_boottime_ns=asked, sent_bytes=40)))
        if not opened_at and story.events(sc.EVENT_PIPELINE_INCIDENT_OPENED):
            opened_at = second
    assert 60 <= opened_at <= 125
    look(
        story,
        (
            Connection,
            client,
            sampled(5, last_send_boottime_ns=asked, last_receive_boottime_ns=story.now),
        ),
    )
    story.exit(client)
    story.tick(10)
    story.tick(1)
    (resolved,) = story.events(sc.EVENT_PIPELINE_INCIDENT_RESOLVED)
    assert attributes(resolved)[sc.PIPELINE_INCIDENT_VERDICT] == "healthy"


def test_a_listener_that_does_not_accept() -> None:
    story = Story()
    server = story.task("serve")
    for queued in (1, 3, 4, 0):
        look(
            story,
            (
                Connection,
                server,
                {
                    "stage": ConnectionStage.LISTENING,
                    "local_port": 80,
                    "queued": queued,
                    "backlog": 2,
                },
            ),
        )
    assert exhausted(story) == ["accept_queue"]


@pytest.mark.parametrize(("queued", "found"), [(128, []), (129, ["accept_queue"])])
def test_a_queue_is_full_above_its_backlog_and_not_at_it(queued: int, found: list[str]) -> None:
    """sk_acceptq_is_full: the kernel takes one more than the backlog says."""
    story = Story()
    server = story.task("serve")
    values = {"stage": ConnectionStage.LISTENING, "local_port": 80, "backlog": 128}
    look(story, (Connection, server, values | {"queued": queued}))
    assert exhausted(story) == found


def test_the_most_connections_at_once_are_kept_when_fewer_are_open() -> None:
    story = Story()
    client = story.task("load")
    for number in (1, 2, 3):
        connection(story, client, number, ConnectionStage.CONNECTED)
    for number in (1, 2):
        connection(story, client, number, ConnectionStage.CLOSED)
    connection(story, client, 4, ConnectionStage.CONNECTED)
    (peer,) = story.core.facts.peers.of(client).peers.values()
    assert (peer.most, peer.open, peer.made) == (3, 2, 4)


def test_clients_of_one_host_are_one_peer_whatever_their_ports() -> None:
    story = Story()
    server = story.task("serve")
    for number in (1, 2):
        connection(
            story,
            server,
            number,
            ConnectionStage.CONNECTED,
            peer_port=40_000 + number,
            connection_flags=ConnectionFlag.ACCEPTED,
        )
    found = story.core.facts.peers.of(server).peers
    assert {e: p.made for e, p in found.items()} == {("10.0.0.5", 0): 2}


def test_ports_and_descriptors_run_out() -> None:
    story = Story()
    client = story.task("load")
    endpoint = {"subject": SubjectKind.ENDPOINT, "family": 2, "address_low": SERVER, "port": 443}
    story.fact(
        CallFailed,
        client,
        error=errno.EADDRNOTAVAIL,
        call=CallKind.CONNECT,
        failures=1,
        call_number=42,
        **endpoint,
    )
    story.fact(
        CallFailed, client, error=errno.EMFILE, call=CallKind.OPEN, failures=1, call_number=257
    )
    assert exhausted(story) == ["ephemeral_ports", "file_descriptors"]


def test_descriptors_that_ran_out_are_told_once_and_also_without_the_first_record() -> None:
    story = Story()
    client = story.task("load")
    for count in (16, 256):
        story.fact(
            CallFailed,
            client,
            error=errno.EMFILE,
            call=CallKind.OPEN,
            failures=count,
            call_number=257,
        )
    assert exhausted(story) == ["file_descriptors"]


def test_connections_are_bounded_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CONNECTIONS", 100)
    story = Story()
    client = story.task("scan")
    for number in range(1, 501):
        connection(
            story, client, number, ConnectionStage.CONNECTED, peer_low=number, peer_port=number
        )
    table = story.core.activity.network.table
    assert len(table.open) == 100 and table.drops["forgotten_connection"] == 400
    table_of_peers = story.core.facts.peers
    assert len(table_of_peers.of(client).peers) == peers.PEERS_PER_PROCESS
    assert table_of_peers.drops["too_many_peers"] > 0
    story.exit(client)
    assert len(table.open) == 0


def test_who_asks_until_the_server_is_there_was_not_failed() -> None:
    story = Story()
    client = story.task("load")
    for number in range(3):
        connection(
            story, client, story.now + number, ConnectionStage.FAILED, error=errno.ECONNREFUSED
        )
    connection(
        story, client, story.now, ConnectionStage.CONNECTED, established_boottime_ns=story.now
    )
    story.tick(60)
    story.exit(client)
    assert not story.events(sc.EVENT_NETWORK_CONNECTION_FAILED)


def test_a_server_that_does_not_come_is_told_of_while_the_client_still_asks() -> None:
    story = Story()
    client = story.task("load")
    connection(story, client, story.now, ConnectionStage.FAILED, error=errno.ECONNREFUSED)
    story.tick(31)
    assert len(story.events(sc.EVENT_NETWORK_CONNECTION_FAILED)) == 1
