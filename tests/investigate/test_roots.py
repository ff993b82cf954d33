"""Which candidate is the root: each story has a near miss in which the relation does not hold."""

from __future__ import annotations

import errno
import os
import signal

import pytest

from receiver.events import (
    CallKind,
    ConnectionFlag,
    ConnectionStage,
    FileReason,
    Neighbour,
    ProcessKey,
    ProcessSample,
    ThreadWait,
)
from receiver.investigate.causes.limits import common_limit
from receiver.investigate.evidence import STRONG
from receiver.investigate.report import Report
from receiver.units import SECOND
from tests.builders import MS, Story
from tests.investigate.telling import cause_of, report_of
from tests.investigate.test_causes import link, refused

STRANGER = ProcessKey(666, 5)
SERVER = int.from_bytes(bytes([10, 0, 0, 5]), "little")


def texts(report: Report) -> str:
    """All sentences of a report."""
    groups = (report.hypotheses, *(o.hypotheses for o in report.other_incidents))
    every = [h for group in groups for h in group]
    return " ".join(
        [report.summary, *(w.text for h in every for w in h.weighed)]
        + [r.because for h in every for r in h.ruled_out]
        + [f"{c.cause} {c.effect}" for c in report.answers.what_started_it]
    )


def accepts(story: Story, server: ProcessKey, port: int = 5000) -> None:
    """The server's end of a connection to 10.0.0.5."""
    link(
        story,
        server,
        ConnectionStage.CONNECTED,
        connection_id=10,
        local_low=SERVER,
        local_port=port,
        peer_port=40_000,
        connection_flags=int(ConnectionFlag.ACCEPTED),
    )


def resets(story: Story, client: ProcessKey) -> None:
    link(
        story,
        client,
        ConnectionStage.CLOSED,
        error=errno.ECONNRESET,
        sent_bytes=100,
        received_bytes=50,
        last_send_boottime_ns=story.now,
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


def waits_for_a_cpu(story: Story, key: ProcessKey, seconds: int = 12) -> None:
    """It waits most of the time, and a stranger takes the CPU."""
    for step in range(seconds):
        story.step(1_000)
        story.fact(
            ProcessSample,
            key,
            threads=1,
            running_threads=1,
            run_delay_ns=step * SECOND * 7 // 10,
            cpu_runtime_ns=step * SECOND * 3 // 10,
        )
        story.fact(Neighbour, ProcessKey(77, 5), cpu_ns=SECOND, interval_ns=SECOND, comm="simulate")
        story.tick(0)


@pytest.mark.parametrize("ending", ["status", "crash", "limit"])
def test_a_lack_of_cpu_makes_nobody_exit_or_crash(ending: str) -> None:
    """It is the root only where a deadline in the run shows it."""
    story = Story()
    root = story.command("bash", "job.sh")
    limit = story.spawn(root, "timeout", "30", "python3", "check.py")
    step = story.spawn(limit, "python3", "check.py")
    waits_for_a_cpu(story, step)
    if ending == "crash":
        story.signal(step, step, signal.SIGSEGV, code=1)
        story.exit(step, signal=signal.SIGSEGV)
        story.exit(limit, 139)
    elif ending == "limit":
        story.signal(limit, step, signal.SIGTERM, comm="timeout")
        story.exit(step, signal=signal.SIGTERM)
        story.exit(limit, 124)
    else:
        story.exit(step, 1)
        story.exit(limit, 1)
    story.exit(root, 1)
    expected = {"status": "none.not_visible", "crash": "crash.segv", "limit": "cpu.neighbour"}
    report = report_of(story)
    assert cause_of(report) == expected[ending]
    if ending == "limit":
        assert any("time limit" in c.effect for c in report.answers.what_started_it)


@pytest.mark.parametrize("hangs", [True, False])
def test_a_hang_that_a_time_limit_ended_leads_before_the_limit(hangs: bool) -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    limit = story.spawn(root, "timeout", "36", "python3", "pool.py")
    parent = story.spawn(limit, "python3", "pool.py")
    worker = story.fork(parent)
    for step in range(30):
        story.step(1_000)
        cpu = 0 if hangs else step * SECOND
        story.fact(ProcessSample, worker, threads=1, cpu_runtime_ns=cpu)
        story.fact(ProcessSample, parent, threads=4, cpu_runtime_ns=0)
        if hangs and step > 1:
            story.fact(
                ThreadWait,
                worker,
                thread=worker.tgid,
                call_number=202,
                idle_ns=step * SECOND,
            )
        story.tick(0)
    story.signal(limit, parent, signal.SIGTERM, comm="timeout")
    story.exit(parent, signal=signal.SIGTERM)
    story.exit(worker, signal=signal.SIGTERM)
    story.exit(limit, 124)
    story.exit(root, 124)
    report = report_of(story)
    assert cause_of(report) == ("hang.fork_lock" if hangs else "kill.timeout_orphan")
    if not hangs:
        assert "36 s" in report.summary


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


@pytest.mark.parametrize("again", [False, True])
def test_a_run_is_not_healthy_while_work_inside_of_it_failed(again: bool) -> None:
    """Luigi exits with 0 whatever its tasks do. A second attempt makes the first one good."""
    story = Story()
    root = story.command("bash", "job.sh")
    for attempt in range(2 if again else 1):
        luigi = story.spawn(root, "python3", "/venv/bin/luigi", "--module", "flow", "Report")
        load = story.spawn(luigi, "python3", "load.py")
        story.exit(load, 0 if attempt else 3, after_ms=500)
        story.exit(luigi)
    story.exit(root)
    report = report_of(story)
    if again:
        assert report.verdict == "healthy"
    else:
        lead = report.hypotheses[0]
        assert (lead.cause, lead.culprit.name) == ("proc.exit_masked", "luigi")
        assert lead.summary.startswith("python3 (1004) exited with status 3")


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


@pytest.mark.parametrize(("throttled", "cause"), [(9, "cpu.quota"), (1, "kill.timeout_orphan")])
def test_a_quota_explains_a_time_limit_that_is_short(throttled: int, cause: str) -> None:
    """Three samples are all that there are of a process of four seconds."""
    story = Story()
    limit = story.command("timeout", "4", "python3", "load.py")
    step = story.spawn(limit, "python3", "load.py")
    for number in range(3):
        story.step(1_000)
        story.fact(
            ProcessSample,
            step,
            threads=1,
            cpu_runtime_ns=number * SECOND // 10,
            cpu_periods=number * 10,
            throttled_periods=number * throttled,
            throttled_ns=number * throttled * 10 * MS,
        )
        story.tick(0)
    story.step(900)
    story.signal(limit, step, signal.SIGTERM, comm="timeout")
    story.exit(step, signal=signal.SIGTERM)
    story.exit(limit, 124)
    assert cause_of(report_of(story)) == cause


@pytest.mark.parametrize(
    ("sender", "cause"), [("starter", "cpu.neighbour"), ("stranger", "kill.supervisor")]
)
def test_a_lack_of_cpu_brings_about_no_kill_by_a_stranger(sender: str, cause: str) -> None:
    """Who had started it may have lost patience. A stranger has a reason of its own."""
    story = Story()
    root = story.command("python3", "run.py")
    step = story.spawn(root, "python3", "check.py")
    waits_for_a_cpu(story, step)
    by = root if sender == "starter" else ProcessKey(666, 5)
    story.signal(by, step, signal.SIGKILL, comm="python3")
    story.exit(step, signal=signal.SIGKILL, run_delay_ns=8 * SECOND, cpu_runtime_ns=4 * SECOND)
    story.exit(root, 1)
    assert cause_of(report_of(story)) == cause


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


def test_a_fix_names_the_limit_and_its_number() -> None:
    """The time limit that its command line states, and the cgroup whose limit was reached."""
    story = Story()
    root = story.command("bash", "job.sh")
    limit = story.spawn(root, "timeout", "-s", "KILL", "1.5m", "python3", "load.py")
    step = story.spawn(limit, "python3", "load.py")
    story.step(90_000)
    story.signal(limit, step, signal.SIGKILL, comm="timeout")
    story.exit(step, signal=signal.SIGKILL)
    story.exit(limit, 137)
    story.exit(root, 137)
    lead = report_of(story).hypotheses[0]
    assert lead.summary.startswith("The time limit of timeout (1003), 90 s, ended python3 (1004)")
    assert lead.fix.text.startswith("Raise the time limit of timeout (1003) above 90 s")

    story = Story()
    root = story.command("python3", "load.py")
    story.oom(root)
    story.exit(root, signal=signal.SIGKILL)
    lead = report_of(story).hypotheses[0]
    assert lead.fix.text.startswith("Raise memory.max of /jobs above 64.0 MiB, or make load.py")


@pytest.mark.parametrize(
    ("seconds", "limit"),
    [
        (0.9, None),
        (1.0, 1),
        (4.9, None),
        (5.2, 5),
        (5.3, None),
        (12.37, None),
        (44.6, None),
        (61.37, None),
        (90.1, 90),
        (100.5, None),
        (3599.43, None),
        (3600.2, 3600),
        (80_000, None),
        (86_400.05, 86_400),
    ],
)
def test_an_age_is_near_a_common_limit_or_not(seconds: float, limit: float | None) -> None:
    found = common_limit(seconds)
    assert (found.seconds if found is not None else None) == limit


def test_a_hit_weighs_as_much_as_it_is_unlikely_by_chance() -> None:
    weights = [found.weight for s in (1, 5, 60, 3600) if (found := common_limit(s)) is not None]
    assert weights == sorted(weights) and weights[0] < 1.5 and weights[-1] == STRONG


def test_a_run_that_lost_time_and_succeeded_is_degraded() -> None:
    """It is explained, and no incident is opened. The time account says what it waited for."""
    story = Story()
    root = story.command("bash", "job.sh")
    step = story.spawn(root, "python3", "check.py")
    waits_for_a_cpu(story, step)
    story.exit(step, cpu_runtime_ns=4 * SECOND, run_delay_ns=8 * SECOND)
    story.exit(root, cpu_runtime_ns=0, run_delay_ns=0)
    report = report_of(story)
    assert (report.verdict, report.hypotheses[0].cause) == ("degraded", "cpu.neighbour")
    assert story.events("pipeline.incident.opened") == []
    assert [(t.what, round(t.seconds)) for t in report.time][:2] == [("run_queue", 8), ("cpu", 4)]
    assert abs(sum(t.seconds for t in report.time) - report.execution.seconds) < 0.01


def test_the_time_account_follows_the_critical_path() -> None:
    """Two steps one after another, and a helper beside them that the root does not wait for."""
    story = Story()
    root = story.command("bash", "job.sh")
    story.spawn(root, "python3", "helper.py")
    for name in ("sleep", "python3"):
        step = story.spawn(root, name, "3")
        busy = 0 if name == "sleep" else 2 * SECOND
        story.exit(step, after_ms=3_000, cpu_runtime_ns=busy, run_delay_ns=0)
    story.exit(root, cpu_runtime_ns=0, run_delay_ns=0)
    report = report_of(story)
    found = {t.what: round(t.seconds) for t in report.time}
    assert found == {"sleep": 3, "cpu": 2, "unknown": 1}
    assert abs(sum(t.seconds for t in report.time) - report.execution.seconds) < 0.01


@pytest.mark.parametrize("again", [True, False])
def test_a_failure_that_a_second_attempt_made_good_degrades_the_run(again: bool) -> None:
    """Without a second attempt the failure was not passed on."""
    story = Story()
    root = story.command("bash", "job.sh")
    for attempt in range(2 if again else 1):
        client = story.spawn(root, "python3", "load.py")
        link(story, client, ConnectionStage.CONNECTED)
        story.step(1_000)
        if not attempt:
            resets(story, client)
        story.exit(client, 0 if attempt else 1)
    story.exit(root)
    report = report_of(story)
    assert report.hypotheses[0].cause == "net.reset_short"
    assert report.verdict == ("degraded" if again else "incident")
    assert (report.unnoticed is None) is again


def test_a_parent_that_waited_for_a_cpu_is_no_supervisor_with_a_late_heartbeat() -> None:
    """On a busy host every parent waits for a CPU; only an answer that was late is a reason."""
    story = Story()
    root = story.command("python3", "drive.py")
    step = story.spawn(root, "python3", "load.py")
    waits_for_a_cpu(story, root)
    story.step(400)
    story.signal(root, step, signal.SIGKILL, comm="python3")
    story.exit(step, signal=signal.SIGKILL)
    story.exit(root, 1)
    assert cause_of(report_of(story)) == "kill.supervisor"


@pytest.mark.parametrize("waited_ms", [55, 0])
def test_a_short_question_is_none_the_longer_on_a_busy_host(waited_ms: int) -> None:
    """A lookup answers with status 1 in 5 ms, and waits for a CPU before.
    Work of 60 ms is no question."""
    story = Story()
    root = story.command("bash", "job.sh")
    asked = story.spawn(root, "dpkg-query", "-W", "tool")
    story.exit(asked, 1, after_ms=60, run_delay_ns=waited_ms * MS, cpu_runtime_ns=2 * MS)
    story.exit(root)
    assert report_of(story).verdict == ("healthy" if waited_ms else "incident")


def test_while_the_root_runs_a_later_attempt_may_make_a_failure_good() -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    luigi = story.spawn(root, "python3", "/venv/bin/luigi", "--module", "flow", "Report")
    story.exit(story.spawn(luigi, "python3", "load.py"), 3, after_ms=500)
    story.exit(luigi)
    story.tick(70)
    assert story.events("pipeline.incident.opened") == []
    story.exit(root)
    assert report_of(story).verdict == "incident"
