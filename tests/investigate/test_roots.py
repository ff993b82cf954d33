"""Which candidate is the root: each story has a near miss in which the relation does not hold."""

from __future__ import annotations

import errno
import os
import signal

import pytest

from receiver.events import (
    CallKind,
    ConnectionStage,
    FileReason,
    Neighbour,
    ProcessKey,
    ProcessSample,
)
from receiver.investigate.report import Report
from receiver.units import SECOND
from tests.builders import MS, Story
from tests.investigate.peers import accepts, link, refused, resets
from tests.investigate.telling import cause_of, report_of

STRANGER = ProcessKey(666, 5)


def texts(report: Report) -> str:
    """All sentences of a report."""
    groups = (report.hypotheses, *(o.hypotheses for o in report.other_incidents))
    every = [h for group in groups for h in group]
    return " ".join(
        [report.summary, *(w.text for h in every for w in h.weighed)]
        + [r.because for h in every for r in h.ruled_out]
        + [f"{c.cause} {c.effect}" for c in report.answers.what_started_it]
    )


def test_two_branches_with_two_causes_are_two_incidents() -> None:
    """An OOM kill in one branch; in the other, a stranger's server resets a connection."""
    story = Story()
    root = story.command("bash", "job.sh")
    left, right = story.spawn(root, "bash", "left.sh"), story.spawn(root, "bash", "right.sh")
    step = story.spawn(left, "python3", "load.py")
    client = story.spawn(right, "python3", "fetch.py")
    link(story, client, ConnectionStage.CONNECTED)
    story.step(1_000)
    story.oom(step)
    story.exit(step, signal=signal.SIGKILL)
    story.exit(left, 137)
    resets(story, client)
    story.exit(client, 1)
    story.exit(right, 1)
    story.exit(root, 1)
    report = report_of(story)
    found = {cause_of(report), *(o.hypotheses[0].cause for o in report.other_incidents)}
    assert found == {"mem.cgroup_oom", "net.reset_short"}
    assert "other end of the connection" not in texts(report)


@pytest.mark.parametrize("serves", [True, False])
def test_a_server_that_was_killed_is_the_root_of_its_clients_reset(serves: bool) -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    server = story.spawn(root, "python3", "serve.py")
    client = story.spawn(root, "python3", "load.py")
    link(story, client, ConnectionStage.CONNECTED)
    if serves:
        accepts(story, server)
    story.step(1_000)
    story.oom(server)
    story.exit(server, signal=signal.SIGKILL)
    resets(story, client)
    story.exit(client, 1)
    story.exit(root, 1)
    report = report_of(story)
    others = [o.hypotheses[0].cause for o in report.other_incidents]
    links = [(c.cause, c.by, c.effect) for c in report.answers.what_started_it]
    assert cause_of(report) == "mem.cgroup_oom"
    assert (others == ["net.reset_short"]) is not serves
    assert any(by == "socket" and "broke a connection" in to for _, by, to in links) is serves
    if serves:
        assert links[-1][2] == "bash (1002) exited with status 1"


@pytest.mark.parametrize("masked", [False, True])
def test_an_oom_kill_is_as_sure_when_its_status_is_lost(masked: bool) -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    step = story.spawn(root, "python3", "load.py")
    story.step(400)
    story.oom(step)
    story.exit(step, signal=signal.SIGKILL)
    story.exit(root, 0 if masked else 137)
    report = report_of(story)
    lead = report.hypotheses[0]
    assert (lead.cause, lead.confidence) == ("mem.cgroup_oom", 0.971)
    assert (report.unnoticed is not None) is masked
    if report.unnoticed is not None:
        assert report.unnoticed.culprit.pid == root.tgid
        assert "set -euo pipefail" in report.unnoticed.fix.text


@pytest.mark.parametrize("by", ["starter", "stranger"])
def test_a_helper_that_its_starter_stops_is_no_incident(by: str) -> None:
    """It handles SIGTERM, exits with 0, and holds the standard output of the shell open."""
    story = Story()
    root = story.command("bash", "job.sh")
    helper = story.spawn(root, "python3", "side.py")
    story.step(1_000)
    sender, comm = (root, "bash") if by == "starter" else (STRANGER, "drainer")
    story.signal(sender, helper, signal.SIGTERM, comm=comm, handled=1)
    story.open_file(helper, "/logs/out.txt", reason=int(FileReason.SIGNAL), signal=signal.SIGTERM)
    story.exit(helper)
    story.exit(root)
    assert report_of(story).verdict == ("healthy" if by == "starter" else "incident")


@pytest.mark.parametrize("related", [True, False])
def test_a_torn_file_begins_with_the_end_of_its_own_writer(related: bool) -> None:
    """Another process that was killed meanwhile is no part of that incident."""
    story = Story()
    root = story.command("bash", "job.sh")
    writer, other = story.spawn(root, "python3", "w.py"), story.spawn(root, "python3", "other.py")
    story.opens(writer, "/data/out.csv", os.O_WRONLY | os.O_CREAT, inode=42)
    story.opens(writer if related else other, "/data/log.txt", os.O_WRONLY, inode=43)
    story.signal(STRANGER, writer, signal.SIGTERM, comm="drainer")
    story.open_file(writer, "/data/out.csv", signal=15)
    story.exit(writer, signal=signal.SIGTERM)
    if not related:
        story.signal(ProcessKey(667, 5), other, signal.SIGKILL, comm="reaper")
        story.exit(other, signal=signal.SIGKILL)
    reader = story.spawn(root, "python3", "r.py")
    story.reads(reader, "/data/out.csv", inode=42, size=4096)
    story.exit(reader, 1)
    story.exit(root, 1)
    report = report_of(story)
    assert cause_of(report) == "fs.truncated"
    others = [o.hypotheses[0].culprit.name for o in report.other_incidents]
    assert others == ([] if related else ["reaper"])


@pytest.mark.parametrize("same", [True, False])
def test_a_crash_follows_from_memory_that_was_refused_to_the_same_process(same: bool) -> None:
    """A limit of the address space is one process's own: a sibling does not crash of it."""
    story = Story()
    root = story.command("bash", "job.sh")
    first, crashed = story.spawn(root, "python3", "a.py"), story.spawn(root, "python3", "b.py")
    refused(story, crashed if same else first, CallKind.MEMORY, errno.ENOMEM)
    story.signal(crashed, crashed, signal.SIGSEGV, code=1)
    story.exit(crashed, signal=signal.SIGSEGV)
    story.exit(first, 0 if same else 1)
    story.exit(root, 1)
    report = report_of(story)
    causes = {cause_of(report), *(o.hypotheses[0].cause for o in report.other_incidents)}
    assert causes == ({"mem.rlimit"} if same else {"crash.segv", "mem.rlimit"})


def test_a_delay_of_a_failed_run_that_ended_nothing_is_no_hypothesis() -> None:
    story = Story()
    root = story.command("python3", "load.py")
    for step in range(12):
        story.step(1_000)
        story.fact(
            ProcessSample,
            root,
            threads=1,
            cpu_runtime_ns=step * SECOND // 2,
            cpu_periods=step * 10,
            throttled_periods=step * 9,
            throttled_ns=step * 90 * MS,
        )
        story.tick(0)
    story.exit(root, 1)
    report = report_of(story)
    assert (report.verdict, report.hypotheses) == ("not_visible", ())
    assert any(
        "throttled by its CPU quota" in line.text and line.text.endswith("no deadline came of it.")
        for line in report.normality
    )


def test_neighbours_of_one_name_are_counted_together() -> None:
    """Six that took the CPU together, and a stranger that used more than each of them."""
    story = Story()
    limit = story.command("timeout", "6", "python3", "load.py")
    step = story.spawn(limit, "python3", "load.py")
    alone, others = ProcessKey(70, 5), [ProcessKey(80 + n, 5) for n in range(6)]
    for _ in range(2):
        story.fact(Neighbour, alone, cpu_ns=SECOND, interval_ns=SECOND, comm="compile")
        for each in others:
            story.fact(Neighbour, each, cpu_ns=SECOND // 2, interval_ns=SECOND, comm="spin")
    for number in range(6):
        story.step(990)
        story.fact(
            ProcessSample,
            step,
            threads=1,
            running_threads=1,
            run_delay_ns=number * SECOND * 8 // 10,
            cpu_runtime_ns=number * SECOND * 2 // 10,
        )
        story.tick(0)
    story.signal(limit, step, signal.SIGTERM, comm="timeout")
    story.exit(step, signal=signal.SIGTERM, run_delay_ns=5 * SECOND, cpu_runtime_ns=SECOND)
    story.exit(limit, 124)
    lead = report_of(story).hypotheses[0]
    assert (lead.cause, lead.culprit.name) == ("cpu.neighbour", "spin")
    assert any("6 processes with the name spin" in w.text for w in lead.weighed)


@pytest.mark.parametrize("pool", [False, True])
def test_a_manager_that_ends_its_probes_first_and_then_its_worker(pool: bool) -> None:
    """Its probes are the first that it ended, and none of them is what it wanted to end."""
    story = Story()
    root = story.command("python3", "run.py")
    above = story.fork(root) if pool else root
    manager = story.spawn(above, "python3", "manage.py")
    worker = story.spawn(manager, "python3", "serve.py")
    for number in range(3):
        story.step(500)
        probe = story.spawn(manager, "python3", "probe.py", "60")
        story.step(1_200)
        story.signal(manager, probe, signal.SIGKILL, comm="python3")
        story.exit(probe, signal=signal.SIGKILL, after_ms=1 + number)
    story.signal(manager, worker, signal.SIGTERM, comm="python3")
    story.exit(worker, signal=signal.SIGTERM, after_ms=1)
    story.exit(manager, 1, after_ms=5)
    if pool:
        story.exit(above, 0, after_ms=5)
    story.exit(root, 1, after_ms=30)
    report = report_of(story)
    assert cause_of(report) == "kill.probe"
    assert report.hypotheses[0].culprit.pid == manager.tgid
