"""What speaks for a cause and what rules its rival out."""

from __future__ import annotations

import errno
import os
import signal

import pytest

from receiver.events import CallKind, Neighbour, ProcessKey, ProcessSample
from receiver.units import MIB, SECOND
from tests.builders import Story
from tests.investigate.peers import refused
from tests.investigate.telling import cause_of, hypothesis, report_of, with_history

STRANGER = ProcessKey(666, 5)


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


def test_a_division_by_zero_is_a_fault_of_its_own_code_and_not_denied() -> None:
    """SIGFPE is another class than SIGSEGV and SIGBUS: only these two were not seen."""
    story = Story()
    root = story.command("bash", "job.sh")
    worker = story.spawn(root, "rank")
    story.signal(worker, worker, signal.SIGFPE, code=1)
    story.exit(worker, signal=signal.SIGFPE)
    story.exit(root, 136)
    (lead, *_) = report_of(story).hypotheses
    (denied,) = (r.because for r in lead.ruled_out if r.cause == "crash.segv")
    assert lead.cause == "crash.abort_ill"
    assert denied == "No event shows a SIGSEGV or SIGBUS that it caused itself."
