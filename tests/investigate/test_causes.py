"""One story for a relation between two causes, and a near miss in which it must not hold."""

from __future__ import annotations

import errno
import os
import signal
from typing import Any

import pytest

from receiver.events import (
    CallFailed,
    CallKind,
    Connection,
    ConnectionFlag,
    ConnectionStage,
    Neighbour,
    ProcessKey,
    ProcessSample,
)
from receiver.investigate.engine import Conclusion
from receiver.investigate.report import Hypothesis, Report
from receiver.units import MIB, SECOND
from tests.builders import MS, Story
from tests.investigate.telling import cause_of, concluded, report_of, with_history

STRANGER = ProcessKey(666, 5)
SERVER = int.from_bytes(bytes([10, 0, 0, 5]), "little")


def hypothesis(report: Report, cause: str) -> Hypothesis:
    (found,) = [h for h in report.hypotheses if h.cause == cause]
    return found


def follows(conclusion: Conclusion, effect: str) -> list[str]:
    """The causes that brought a candidate of this class about."""
    steps = [s for i in (conclusion.first, *conclusion.others) for s in i.steps]
    return [step.cause.cause for step in steps if step.effect.cause == effect]


def link(story: Story, key: ProcessKey, stage: ConnectionStage, **other: Any) -> None:
    story.fact(
        Connection,
        key,
        **(
            {
                "connection_id": 9,
                "stage": stage,
                "family": 2,
                "peer_low": SERVER,
                "peer_port": 5000,
                "established_boottime_ns": 1000,
            }
            | other
        ),
    )


def refused(story: Story, key: ProcessKey, call: CallKind, error: int, **other: Any) -> None:
    values = {"first_boottime_ns": story.now, "last_boottime_ns": story.now, "failures": 1}
    story.fact(CallFailed, key, call=call, error=error, call_number=1, **(values | other))


@pytest.mark.parametrize(("throttled", "after"), [(9, ["cpu.quota"]), (0, [])])
def test_waiting_for_a_cpu_follows_from_the_quota_of_its_own_cgroup(
    throttled: int, after: list[str]
) -> None:
    story = Story()
    root = story.command("python3", "load.py")
    for step in range(12):
        story.step(1_000)
        story.fact(
            ProcessSample,
            root,
            threads=1,
            run_delay_ns=step * SECOND // 2,
            cpu_runtime_ns=step * SECOND // 2,
            cpu_periods=step * 10,
            throttled_periods=step * throttled,
            throttled_ns=step * throttled * 10 * MS,
        )
        story.tick(0)
    story.exit(root)
    assert follows(concluded(story, root), "cpu.neighbour") == after


@pytest.mark.parametrize(("throttled", "after"), [(9, ["cpu.quota"]), (0, [])])
def test_the_longest_of_some_parts_follows_from_its_own_quota(
    throttled: int, after: list[str]
) -> None:
    story = Story()
    root = story.command("python3", "drive.py")
    parts = [story.spawn(root, "python3", "part.py", str(n)) for n in range(4)]
    for number, part in enumerate(parts):
        size = (100 if number == 3 else 10) * MIB
        story.reads(part, f"/data/part-{number}.csv", inode=100 + number, size=size)
    for part in parts[:3]:
        story.exit(part, after_ms=200)
    for step in range(8):
        story.step(1_000)
        story.fact(
            ProcessSample,
            parts[3],
            threads=1,
            cpu_runtime_ns=step * SECOND // 2,
            cpu_periods=step * 10,
            throttled_periods=step * throttled,
            throttled_ns=step * throttled * 10 * MS,
        )
        story.tick(0)
    story.exit(parts[3])
    story.exit(root)
    assert follows(concluded(story, root), "data.skew") == after


def test_a_rival_is_ruled_out_by_what_speaks_most_against_it() -> None:
    """The sender is a time limit, and the kernel had chosen the process:
    the kernel's choice decides."""
    story = Story()
    root = story.command("bash", "job.sh")
    step = story.spawn(root, "python3", "load.py")
    story.oom(step)
    story.signal(STRANGER, step, signal.SIGKILL, comm="timeout")
    story.exit(step, signal=signal.SIGKILL)
    story.exit(root, 137)
    lead = report_of(story).hypotheses[0]
    because = {r.cause: r.because for r in lead.ruled_out}
    assert lead.cause == "mem.cgroup_oom"
    assert because["kill.supervisor"] == "The kernel's OOM killer had chosen it."


@pytest.mark.parametrize(("used", "role"), [(300, "supports"), (490, "contradicts")])
def test_room_in_its_cgroup_speaks_for_a_heap_that_was_full(used: int, role: str) -> None:
    story = Story()
    root = story.command("java", "-Xmx128m", "Job")
    for step in range(6):
        story.step(1_000)
        story.fact(
            ProcessSample,
            root,
            threads=9,
            anon_bytes=200 * MIB,
            cpu_runtime_ns=step * SECOND,
            memory_usage_bytes=used * MIB,
            memory_limit_bytes=512 * MIB,
        )
        story.tick(0)
    story.exit(root, 52)
    heap = hypothesis(report_of(story), "mem.app_heap")
    (headroom,) = [w for w in heap.weighed if w.text.startswith("Its cgroup used")]
    assert headroom.role == role and (headroom.weight > 0) is (role == "supports")


def test_a_report_with_lost_events_is_never_surer_than_its_ceiling() -> None:
    confidence = []
    for lost in (False, True):
        story = Story()
        root = story.command("bash", "job.sh")
        step = story.spawn(root, "python3", "load.py")
        if lost:
            story.core.missing.note_losses({("signal", "ring_full"): 3}, story.now)
        story.oom(step)
        story.exit(step, signal=signal.SIGKILL)
        story.exit(root, 137)
        confidence.append(report_of(story).hypotheses[0].confidence)
    assert confidence[0] > 0.9 and confidence[1] == 0.75


@pytest.mark.parametrize(
    ("age", "cause"),
    [
        (12.37, "kill.supervisor"),
        (5.6, "kill.supervisor"),
        (61.37, "kill.supervisor"),
        (3599.43, "kill.supervisor"),
        (10.0, "kill.timeout_orphan"),
        (30.0, "kill.timeout_orphan"),
        (3600.1, "kill.timeout_orphan"),
    ],
)
def test_a_parent_that_ends_its_child_at_a_round_age_is_a_time_limit(
    age: float, cause: str
) -> None:
    story = Story()
    root = story.command("python3", "drive.py")
    step = story.spawn(root, "python3", "load.py")
    began = step.start_boottime_ns
    story.step(age * 1000 - (story.now - began) / MS - 1)
    story.signal(root, step, signal.SIGKILL, comm="python3")
    story.exit(step, signal=signal.SIGKILL)
    story.exit(root, 1)
    assert cause_of(report_of(story)) == cause


@pytest.mark.parametrize(("read", "early"), [(40, True), (100, False)])
def test_who_had_read_the_whole_of_a_file_was_not_too_early(read: int, early: bool) -> None:
    """The writer still has it open after that; only who got less than there is now was early."""
    story = Story()
    root = story.command("bash", "job.sh")
    writer, reader = story.spawn(root, "python3", "w.py"), story.spawn(root, "python3", "r.py")
    writing = story.opens(writer, "/data/out.csv", os.O_WRONLY | os.O_CREAT, inode=42)
    story.step(500)
    reading = story.opens(reader, "/data/out.csv", inode=42, size=read)
    story.closes(reader, reading, read=read, size=read)
    story.exit(reader, 1)
    story.step(500)
    story.closes(writer, writing, written=100, size=100)
    story.exit(writer)
    story.exit(root, 1)
    causes = [h.cause for h in report_of(story).hypotheses]
    assert ("fs.read_early" in causes) is early


@pytest.mark.parametrize(("runs", "slow"), [(3, False), (6, True)])
def test_a_task_is_slow_only_once_enough_runs_of_it_are_known(runs: int, slow: bool) -> None:
    story = with_history()
    for seconds in (*(2 + 0.05 * n for n in range(runs)), 9):
        root = story.command("bash", "job.sh", name="same")
        story.exit(root, after_ms=seconds * 1000)
        story.tick()
    report = list(story.core.incidents.reports.values())[-1]
    assert bool(report.symptoms) is slow


@pytest.mark.parametrize(("lived_ms", "cause"), [(15, "none"), (400, "proc.exit_masked")])
def test_status_1_in_no_time_is_an_answer_and_after_some_work_a_failure(
    lived_ms: int, cause: str
) -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    step = story.spawn(root, "python3", "extract.py")
    story.exit(step, 1, after_ms=lived_ms)
    story.exit(root)
    assert cause_of(report_of(story)).startswith(cause)


@pytest.mark.parametrize(("seconds", "silent"), [(2, False), (8, True)])
def test_a_peer_that_takes_seconds_to_answer_is_no_silent_one(seconds: int, silent: bool) -> None:
    story = Story()
    root = story.command("python3", "load.py")
    link(story, root, ConnectionStage.CONNECTED)
    asked = story.now
    link(story, root, ConnectionStage.SAMPLED, sent_bytes=100, last_send_boottime_ns=asked)
    story.step(seconds * 1000)
    link(story, root, ConnectionStage.CLOSED, sent_bytes=100, last_send_boottime_ns=asked)
    story.exit(root, 1)
    causes = [h.cause for h in report_of(story).hypotheses]
    assert ("net.silent_peer" in causes) is silent


@pytest.mark.parametrize(("seconds", "stalled"), [(2, False), (8, True)])
def test_storage_that_stands_still_for_seconds_is_a_cause(seconds: int, stalled: bool) -> None:
    story = Story()
    root = story.command("python3", "load.py")
    story.opens(root, "/data/out.csv", os.O_WRONLY | os.O_CREAT, inode=42)
    for step in range(10):
        story.step(1_000)
        stuck = min(step, seconds) * SECOND
        story.fact(ProcessSample, root, threads=1, io_stall_ns=stuck, cpu_runtime_ns=step * SECOND)
        story.tick(0)
    story.exit(root)
    causes = [h.cause for h in report_of(story).hypotheses]
    assert ("fs.slow_io" in causes) is stalled


def test_what_still_runs_is_not_what_failed() -> None:
    """A service had no descriptor left and went on; a step beside it failed by itself."""
    story = Story()
    root = story.command("bash", "job.sh")
    service = story.spawn(root, "python3", "serve.py")
    step = story.spawn(root, "python3", "load.py")
    refused(story, service, CallKind.OPEN, errno.EMFILE, path="/data/x", subject=1)
    story.exit(step, 1)
    story.exit(root, 1)
    report = report_of(story)
    assert (report.verdict, report.hypotheses) == ("not_visible", ())


def test_a_connection_that_was_reset_is_told_as_a_reset() -> None:
    """By the error of the socket alone: the reset itself can have come unseen."""
    story = Story()
    root = story.command("python3", "load.py")
    link(story, root, ConnectionStage.CONNECTED)
    story.step(1_000)
    link(
        story,
        root,
        ConnectionStage.CLOSED,
        error=errno.ECONNRESET,
        sent_bytes=100,
        received_bytes=50,
        last_send_boottime_ns=story.now,
    )
    story.exit(root, 1)
    lead = hypothesis(report_of(story), "net.reset_short")
    assert lead.weighed[0].text.startswith("10.0.0.5:5000 reset a connection of python3")


@pytest.mark.parametrize(
    ("unread", "resumes", "told"), [(21_000, True, True), (0, True, False), (21_000, False, False)]
)
def test_answers_that_are_held_until_another_call_is_answered(
    unread: int, resumes: bool, told: bool
) -> None:
    """A credential is refreshed over a plain address: what the call is for is not visible."""
    story = Story()
    root = story.command("python3", "read.py")
    lake = {"peer_port": 5000, "established_boottime_ns": story.now}
    asked = story.now + SECOND
    sent = {"sent_bytes": 100, "last_send_boottime_ns": story.now}
    read = {"received_bytes": 128_000, "last_receive_boottime_ns": story.now + 10 * MS}
    call = {"peer_port": 6000, "connection_id": 20, "established_boottime_ns": asked}
    for connection in (9, 10):
        link(story, root, ConnectionStage.CONNECTED, **(lake | {"connection_id": connection}))
    story.step(1_000)
    link(story, root, ConnectionStage.CONNECTED, **call)
    asks = {"sent_bytes": 90, "last_send_boottime_ns": asked}
    for _ in range(6):
        story.step(1_000)
        for connection in (9, 10):
            held = lake | sent | read | {"connection_id": connection, "unread_bytes": unread}
            link(story, root, ConnectionStage.SAMPLED, **held)
        link(story, root, ConnectionStage.SAMPLED, **(call | asks))
    answered = {"received_bytes": 500, "last_receive_boottime_ns": story.now}
    link(story, root, ConnectionStage.CLOSED, **(call | asks | answered))
    if not resumes:
        story.step(4_000)
    more = {"received_bytes": 200_000, "last_receive_boottime_ns": story.now}
    for connection in (9, 10):
        link(
            story,
            root,
            ConnectionStage.CLOSED,
            **(lake | sent | more | {"connection_id": connection}),
        )
    story.exit(root)
    pools = [h for h in report_of(story).hypotheses if h.cause == "net.pool"]
    assert [h.culprit.address.rpartition(":")[2] for h in pools] == (["6000"] if told else [])


@pytest.mark.parametrize(("life", "verdict"), [(40, "healthy"), (8, "degraded")])
def test_a_quota_degrades_a_success_only_when_it_took_much_of_its_life(
    life: int, verdict: str
) -> None:
    story = Story()
    root = story.command("python3", "load.py")
    for step in range(life):
        story.step(1_000)
        throttled = min(step, 6) * 9
        story.fact(
            ProcessSample,
            root,
            threads=1,
            cpu_runtime_ns=step * SECOND // 2,
            cpu_periods=step * 10,
            throttled_periods=throttled,
            throttled_ns=throttled * 10 * MS,
        )
        story.tick(0)
    story.exit(root)
    assert report_of(story).verdict == verdict


@pytest.mark.parametrize(("part", "others"), [(True, []), (False, ["fs.eacces"])])
def test_broken_connections_belong_to_the_story_of_a_child_that_was_killed(
    part: bool, others: list[str]
) -> None:
    """A step that may not read its file, beside it, is an incident of its own."""
    story = Story()
    root = story.command("bash", "job.sh")
    driver = story.spawn(root, "python3", "drive.py")
    worker = story.fork(driver)
    client = story.spawn(root, "python3", "load.py")
    link(
        story,
        worker,
        ConnectionStage.CONNECTED,
        connection_id=10,
        local_low=SERVER,
        local_port=5000,
        peer_port=40_000,
        connection_flags=int(ConnectionFlag.ACCEPTED),
    )
    story.oom(worker)
    story.exit(worker, signal=signal.SIGKILL)
    if part:
        link(
            story,
            client,
            ConnectionStage.CLOSED,
            error=errno.ECONNRESET,
            sent_bytes=100,
            received_bytes=50,
            last_send_boottime_ns=story.now,
        )
    else:
        refused(story, client, CallKind.OPEN, errno.EACCES, path="/data/secret", subject=1)
    story.exit(client, 1)
    story.exit(driver, 1)
    story.exit(root, 1)
    report = report_of(story)
    assert cause_of(report) == "mem.child_oom"
    assert [o.hypotheses[0].cause for o in report.other_incidents] == others


@pytest.mark.parametrize(("grown", "role"), [(200, "contradicts"), (30, "context")])
def test_a_neighbour_that_grew_more_speaks_against_the_victims_own_growth(
    grown: int, role: str
) -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    step = story.spawn(root, "python3", "load.py")
    for held in (5, 55):
        story.step(1_000)
        story.fact(
            ProcessSample,
            step,
            threads=1,
            anon_bytes=held * MIB,
            memory_cgroup_id=5,
            memory_usage_bytes=60 * MIB,
            memory_limit_bytes=64 * MIB,
        )
        story.tick(0)
    story.fact(
        Neighbour,
        ProcessKey(77, 5),
        rss_growth_bytes=grown * MIB,
        rss_bytes=grown * MIB,
        shares_memory_cgroup=1,
        comm="greedy",
        interval_ns=SECOND,
    )
    story.oom(step)
    story.exit(step, signal=signal.SIGKILL)
    story.exit(root, 137)
    victim = hypothesis(report_of(story), "mem.cgroup_oom")
    (about,) = [w for w in victim.weighed if w.text.startswith("greedy (77)")]
    assert about.role == role


@pytest.mark.parametrize(("waited_ms", "told"), [(3_000, True), (500, False)])
def test_a_time_limit_names_the_time_that_went_into_waiting_for_a_cpu(
    waited_ms: int, told: bool
) -> None:
    """Its samples may be late on a host so busy; the end of the process has the whole sum."""
    story = Story()
    root = story.command("bash", "job.sh")
    guard = story.spawn(root, "timeout", "4", "python3", "load.py")
    step = story.spawn(guard, "python3", "load.py")
    story.step(4_000)
    story.signal(guard, step, signal.SIGTERM, comm="timeout")
    story.exit(step, signal=signal.SIGTERM, after_ms=1, run_delay_ns=waited_ms * MS)
    story.exit(guard, 124)
    story.exit(root, 124)
    report = report_of(story)
    assert cause_of(report) == "kill.timeout_orphan"
    found = [w.text for w in report.hypotheses[0].weighed if "waited for a CPU" in w.text]
    assert bool(found) is told
    if told:
        assert found[0].startswith(f"The threads of python3 ({step.tgid}) had waited for a CPU")
