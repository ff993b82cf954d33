"""Connections, samples and waits as the core sees them: what is told, what is not,
and that all of it is bounded."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from receiver import semconv as sc
from receiver.events import (
    CallFailed,
    CallKind,
    Connection,
    ConnectionFlag,
    ConnectionStage,
    NameQuery,
    Neighbour,
    ProcessKey,
    ProcessSample,
    SubjectKind,
    ThreadWait,
    WaitObject,
    WaitStack,
)
from receiver.facts import connections, peers
from receiver.facts.neighbours import NEIGHBOURS
from receiver.facts.usage import CURVE_POINTS, Curve
from receiver.model import CoreOptions
from receiver.text.names import name_in
from receiver.units import MIB, SECOND
from tests.builders import Story, attributes

SERVER = int.from_bytes(bytes([10, 0, 0, 5]), "little")


def connection(
    story: Story, key: ProcessKey, number: int, stage: ConnectionStage, **other: Any
) -> None:
    values = {
        "connection_id": number,
        "stage": stage,
        "family": 2,
        "peer_low": SERVER,
        "peer_port": 443,
        "state": 1,
        "established_boottime_ns": 0 if stage == ConnectionStage.FAILED else number + 1000,
    }
    story.fact(Connection, key, **(values | other))


def look(
    story: Story, *facts: tuple[type[Any], ProcessKey, dict[str, Any]], seconds: float = 1.0
) -> None:
    """One second's samples, then the tick."""
    story.step(seconds * 1000)
    for kind, key, fields in facts:
        story.fact(kind, key, **fields)
    story.tick(0)


def exhausted(story: Story) -> list[object]:
    return [
        attributes(r)[sc.NETWORK_EXHAUSTION_RESOURCE]
        for r in story.events(sc.EVENT_NETWORK_CONNECTION_EXHAUSTED)
    ]


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


def sampled(number: int, **other: Any) -> dict[str, Any]:
    return {
        "connection_id": number,
        "stage": ConnectionStage.SAMPLED,
        "family": 2,
        "peer_low": SERVER,
        "peer_port": 443,
        "state": 1,
        "established_boottime_ns": number + 1000,
    } | other


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


LABELS = "\x03www\x07example\x03com"


def query(story: Story, key: ProcessKey, flags: int, **other: Any) -> None:
    values = {
        "query_id": 9,
        "query_flags": flags,
        "labels": LABELS,
        "family": 2,
        "server_low": SERVER,
        "port": 53,
    }
    story.fact(NameQuery, key, **(values | {"question_type": 1} | other))


def test_names_are_remembered_for_their_addresses() -> None:
    story = Story()
    client = story.task("load")
    query(story, client, 0x100)
    query(story, client, 0x8180, addresses=1, first_low=SERVER)
    connection(story, client, story.now, ConnectionStage.FAILED, error=errno.EHOSTUNREACH)
    (record,) = story.events(sc.EVENT_NETWORK_CONNECTION_FAILED)
    assert attributes(record)[sc.SERVER_ADDRESS] == "www.example.com"


@pytest.mark.parametrize(
    ("flags", "error"), [(0x8182, "dns_server_failure"), (0x8183, ""), (None, "dns_timeout")]
)
def test_name_servers_that_fail(flags: int | None, error: str) -> None:
    story = Story()
    client = story.task("load")
    query(story, client, 0x100)
    if flags is not None:
        query(story, client, flags)
    story.tick(6)
    found = [attributes(r)[sc.ERROR_TYPE] for r in story.events(sc.EVENT_NETWORK_CONNECTION_FAILED)]
    assert found == ([error] if error else [])


def test_labels_that_do_not_add_up() -> None:
    assert name_in("\x03www\x40x") == "www.x"
    assert name_in("") == ""


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


def sample(rss: int, **other: Any) -> dict[str, Any]:
    return {"anon_bytes": rss, "threads": 1, "memory_cgroup_id": 5} | other


def test_growth_towards_a_limit_is_told_before_it_is_reached() -> None:
    story = Story()
    worker = story.task("transform")
    for step in range(1, 10):
        used = step * 100 * MIB
        limit = {"memory_usage_bytes": used, "memory_limit_bytes": 1000 * MIB}
        look(story, (ProcessSample, worker, sample(used, cpu_runtime_ns=step * SECOND, **limit)))
    (record,) = story.events(sc.EVENT_PROCESS_MEMORY_GROWTH)
    found = attributes(record)
    assert found[sc.PROCESS_MEMORY_GROWTH_LIMIT] == 1000 * MIB
    assert 95 * MIB < float(str(found[sc.PROCESS_MEMORY_GROWTH_RATE])) < 101 * MIB
    assert int(str(found[sc.PROCESS_MEMORY_GROWTH_END])) < 1000 * MIB


@pytest.mark.parametrize("rss", [[400] * 12, [100 + i for i in range(12)]])
def test_a_large_or_slow_process_is_not_growing(rss: list[int]) -> None:
    story = Story()
    worker = story.task("transform")
    for mib in rss:
        limit = {"memory_usage_bytes": 900 * MIB, "memory_limit_bytes": 1000 * MIB}
        look(story, (ProcessSample, worker, sample(mib * MIB, **limit)))
    assert story.events(sc.EVENT_PROCESS_MEMORY_GROWTH) == []


def test_an_oom_kill_names_the_neighbour_that_took_the_memory() -> None:
    story = Story()
    victim = story.task("transform")
    other = ProcessKey(77, 5)
    look(
        story,
        (
            ProcessSample,
            victim,
            sample(20 * MIB, memory_limit_bytes=64 * MIB, memory_usage_bytes=60 * MIB),
        ),
    )
    grown = {
        "rss_growth_bytes": 40 * MIB,
        "shares_memory_cgroup": 1,
        "comm": "greedy",
        "interval_ns": SECOND,
    }
    look(story, (Neighbour, other, grown))
    story.oom(victim)
    (record,) = story.events(sc.EVENT_PIPELINE_TASK_CONTENTION)
    found = attributes(record)
    assert (
        found[sc.PIPELINE_CONTENTION_NEIGHBOR_NAME],
        found[sc.PIPELINE_CONTENTION_NEIGHBOR_PID],
    ) == ("greedy", 77)


def test_waiting_for_a_cpu_is_contention_and_names_who_had_it() -> None:
    story = Story()
    worker = story.task("transform")
    for step in range(8):
        look(
            story,
            (
                Neighbour,
                ProcessKey(88, 5),
                {"cpu_ns": SECOND, "interval_ns": SECOND, "comm": "spinner"},
            ),
            (
                ProcessSample,
                worker,
                sample(MIB, run_delay_ns=step * SECOND // 2, cpu_runtime_ns=step * SECOND // 2),
            ),
        )
    (record,) = story.events(sc.EVENT_PIPELINE_TASK_CONTENTION)
    found = attributes(record)
    assert (
        found[sc.PIPELINE_CONTENTION_RESOURCE],
        found[sc.PIPELINE_CONTENTION_NEIGHBOR_NAME],
    ) == ("cpu", "spinner")


def test_a_quota_is_contention_with_nobody() -> None:
    story = Story()
    worker = story.task("transform")
    for step in range(8):
        look(
            story,
            (
                ProcessSample,
                worker,
                sample(MIB, cpu_periods=step * 10, throttled_periods=step * 9, cpu_runtime_ns=step),
            ),
        )
    (record,) = story.events(sc.EVENT_PIPELINE_TASK_CONTENTION)
    assert sc.PIPELINE_CONTENTION_NEIGHBOR_NAME not in attributes(record)


def hang(story: Story, *, worker_works: bool = False, timed: int = 0) -> None:
    root = story.command("bash", "-c", "x")
    worker = story.spawn(root, "python3")
    for step in range(40):
        cpu = step * SECOND if worker_works else 5
        facts: list[tuple[type[Any], ProcessKey, dict[str, Any]]] = [
            (ProcessSample, root, sample(MIB)),
            (ProcessSample, worker, sample(MIB, cpu_runtime_ns=cpu)),
        ]
        if step % 8 == 2:
            facts.append(
                (ThreadWait, root, {"thread": root.tgid, "call_number": 61, "thread_state": 1})
            )
            facts.append(
                (
                    ThreadWait,
                    worker,
                    {"thread": worker.tgid, "call_number": 202, "thread_state": 1, "timed": timed},
                )
            )
            facts.append(
                (
                    WaitStack,
                    worker,
                    {
                        "thread": worker.tgid,
                        "frames": "schedule+0x1/0x2 futex_wait+0x3/0x4 do_futex+0x5/0x6 0x0",
                    },
                )
            )
        look(story, *facts)


def test_a_task_in_which_nothing_moves_hangs() -> None:
    story = Story(CoreOptions(hang_seconds=20))
    hang(story)
    (record,) = story.events(sc.EVENT_PROCESS_HANG)
    found = attributes(record)
    assert (found[sc.PROCESS_HANG_WAIT], found[sc.PROCESS_EXECUTABLE_NAME]) == ("futex", "python3")
    assert float(str(found[sc.PROCESS_HANG_DURATION])) >= 20
    assert found[sc.PROCESS_HANG_STACK] == "futex_wait do_futex"


@pytest.mark.parametrize("other", [{"worker_works": True}, {"timed": 1}])
def test_work_and_timed_sleeps_are_no_hang(other: dict[str, Any]) -> None:
    story = Story(CoreOptions(hang_seconds=20))
    hang(story, **other)
    assert story.events(sc.EVENT_PROCESS_HANG) == []


@pytest.mark.parametrize("stays", [False, True])
def test_an_idle_helper_hangs_only_if_it_outlives_its_parent(stays: bool) -> None:
    """Python's resource tracker waits for the end of its pipe all the time."""
    story = Story(CoreOptions(hang_seconds=20))
    root = story.command("bash", "-c", "x")
    worker = story.spawn(root, "python3")
    helper = story.fork(worker)
    wait = {"thread": helper.tgid, "call_number": 0, "thread_state": 1}
    for step in range(40):
        looked = [
            (ProcessSample, each, sample(MIB, cpu_runtime_ns=cpu))
            for each, cpu in ((root, 5), (worker, step * SECOND), (helper, 5))
        ]
        look(story, *looked, (ThreadWait, helper, wait))
    story.exit(worker)
    for _ in range(40 if stays else 3):
        idle = [(ProcessSample, each, sample(MIB, cpu_runtime_ns=5)) for each in (root, helper)]
        look(story, *idle, (ThreadWait, helper, wait))
    assert bool(story.events(sc.EVENT_PROCESS_HANG)) is stays


def test_a_pipe_names_who_holds_its_other_end() -> None:
    story = Story(CoreOptions(hang_seconds=2))
    root = story.command("bash", "-c", "x")
    story.fork(root)
    other = story.fork(root)
    story.exec(other, "tee", stdin_inode=123, parent=root)
    for step in range(9):
        facts: list[tuple[type[Any], ProcessKey, dict[str, Any]]] = [
            (ProcessSample, root, sample(MIB))
        ]
        if step == 2:
            wait = {
                "thread": root.tgid,
                "call_number": 0,
                "thread_state": 1,
                "waits_on": WaitObject.PIPE,
                "inode": 123,
            }
            facts.append((ThreadWait, root, wait))
        look(story, *facts)
    assert (
        story.events(sc.EVENT_PROCESS_HANG) == []
    )  # the others were not looked at: nothing is concluded from that
    for step in range(9):
        facts = [
            (ProcessSample, p.key, sample(MIB))
            for p in story.core.tree.processes()
            if p.execution is not None
        ]
        if step == 2:
            facts.append((ThreadWait, root, wait))
        look(story, *facts)
    (record,) = story.events(sc.EVENT_PROCESS_HANG)
    assert attributes(record)[sc.PROCESS_HANG_OBJECT] == f"pipe held by tee ({other.tgid})"


def test_the_curve_is_bounded_and_its_peak_exact() -> None:
    curve = Curve()
    for step in range(100_000):
        curve.add(step, 5 << 30 if step == 77_777 else step * 4096)
    assert len(curve.points) <= CURVE_POINTS
    assert curve.peak == 5 << 30
    times = [t for t, *_ in curve.points]
    assert times == sorted(times) and times[0] < 5_000 and times[-1] > 90_000
    flat = Curve()
    for step in range(10_000):
        flat.add(step, 100 * MIB + step)
    assert len(flat.points) == 1  # nothing that would show


def test_neighbours_are_bounded_and_counted() -> None:
    story = Story()
    for pid in range(2 * NEIGHBOURS):
        story.fact(Neighbour, ProcessKey(pid + 1, 5), comm="x", rss_growth_bytes=MIB)
    assert len(story.core.activity.usage.neighbours) == NEIGHBOURS
    assert story.core.activity.drops()["forgotten_neighbour"] == NEIGHBOURS


def test_memory_of_a_task_is_a_gauge_that_comes_back_to_zero() -> None:
    story = Story()
    worker = story.task("transform")
    look(story, (ProcessSample, worker, sample(40 * MIB, memory_limit_bytes=64 * MIB)))

    def usage() -> dict[str, object]:
        return {
            m.name: [p.value for p in m.points]
            for m in story.core.metrics()
            if m.name.startswith("pipeline.task.memory")
        }

    assert usage() == {
        "pipeline.task.memory.usage": [40 * MIB],
        "pipeline.task.memory.limit": [64 * MIB],
    }
    story.exit(worker)
    story.tick()
    assert usage() == {"pipeline.task.memory.usage": [0], "pipeline.task.memory.limit": [0]}


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
