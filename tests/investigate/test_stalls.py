"""Waits for somebody else: pipes that are kept open, FIFOs without a partner, stopped processes."""

from __future__ import annotations

import errno
import signal
from typing import Any

import pytest

from receiver.events import (
    CallKind,
    HeldObject,
    Holder,
    LastFailure,
    ProcessKey,
    ProcessSample,
    SubjectKind,
    ThreadWait,
    WaitObject,
    WaitStack,
)
from receiver.investigate.report import Report
from receiver.units import SECOND
from tests.builders import Story
from tests.investigate.telling import cause_of, report_of

READ, POLL, OPENAT, NANOSLEEP = 0, 7, 257, 35
PIPE = 4711


def stall(story: Story, key: ProcessKey, *, seconds: int = 30, **wait: Any) -> None:
    """The process does nothing for so long; its only thread is told of after three seconds."""
    for _ in range(3):
        story.step(1_000)
        story.fact(ProcessSample, key, threads=1)
    values: dict[str, Any] = {"thread": key.tgid, "thread_state": 1, "idle_ns": 3 * SECOND}
    story.fact(ThreadWait, key, **(values | wait))
    story.step((seconds - 3) * 1000)


class Runner:
    """A runner below timeout(1), and the step that it starts with its output in a pipe."""

    def __init__(self) -> None:
        self.story = Story()
        self.root = self.story.command("timeout", "30", "python3", "runner.py")
        self.runner = self.story.spawn(self.root, "python3", "runner.py")
        self.step = self.story.spawn(self.runner, "bash", "step.sh", stdout_inode=PIPE)

    def holds(self, *holders: ProcessKey) -> None:
        for number, key in enumerate(holders, 1):
            self.story.fact(
                Holder,
                self.runner,
                held=HeldObject.PIPE_WRITE,
                inode=PIPE,
                holder=key,
                holders=number,
                comm="python3",
            )

    def times_out(self) -> Report:
        self.story.signal(self.root, self.runner, signal.SIGTERM, comm="timeout")
        self.story.exit(self.runner, signal=signal.SIGTERM, after_ms=1)
        self.story.exit(self.root, 124)
        return report_of(self.story)


@pytest.mark.parametrize(
    "wait",
    [
        {"call_number": READ, "waits_on": WaitObject.PIPE, "inode": PIPE},
        {"call_number": POLL},  # an event loop
    ],
    ids=["read", "poll"],
)
def test_a_helper_that_keeps_the_pipe_of_its_step_open(wait: dict[str, Any]) -> None:
    run = Runner()
    helper = run.story.spawn(run.step, "python3", "page.py", stdout_inode=PIPE)
    run.story.exit(run.step)
    stall(run.story, run.runner, **wait)
    run.holds(helper)
    report = run.times_out()
    lead = report.hypotheses[0]
    assert (cause_of(report), lead.culprit.pid) == ("hang.pipe_held", helper.tgid)
    assert "kill.timeout_orphan" not in lead.cause and "close_the_pipe" in lead.fix.tag


def test_a_step_that_still_works_is_what_the_runner_waits_for() -> None:
    run = Runner()
    helper = run.story.spawn(run.step, "python3", "page.py", stdout_inode=PIPE)
    stall(run.story, run.runner, call_number=READ, waits_on=WaitObject.PIPE, inode=PIPE)
    run.holds(run.step, helper)
    report = run.times_out()
    assert "hang.pipe_held" not in [h.cause for h in report.hypotheses]


def test_another_pipe_that_is_kept_open_is_not_the_one_that_it_waits_for() -> None:
    run = Runner()
    helper = run.story.spawn(run.step, "python3", "page.py", stdout_inode=PIPE)
    run.story.exit(run.step)
    stall(run.story, run.runner, call_number=READ, waits_on=WaitObject.PIPE, inode=99)
    run.holds(helper)
    report = run.times_out()
    assert "hang.pipe_held" not in [h.cause for h in report.hypotheses]


@pytest.mark.parametrize("alone", [True, False])
def test_a_reader_that_has_the_writing_end_itself(alone: bool) -> None:
    """The near miss: somebody else can write, too."""
    run = Runner()
    other = run.story.spawn(run.root, "python3", "feed.py")
    run.story.exit(run.step)
    stall(run.story, run.runner, call_number=READ, waits_on=WaitObject.PIPE, inode=PIPE)
    run.holds(run.runner, *(() if alone else (other,)))
    report = run.times_out()
    found = [h.culprit.pid for h in report.hypotheses if h.cause == "hang.pipe_held"]
    assert found == ([run.runner.tgid] if alone else [])


def test_a_runner_that_went_on_and_succeeded_is_healthy() -> None:
    run = Runner()
    helper = run.story.spawn(run.step, "python3", "page.py", stdout_inode=PIPE)
    run.story.exit(run.step)
    stall(run.story, run.runner, call_number=READ, waits_on=WaitObject.PIPE, inode=PIPE)
    run.holds(helper)
    run.story.exit(helper)
    run.story.exit(run.runner)
    run.story.exit(run.root)
    assert report_of(run.story).verdict == "healthy"


@pytest.mark.parametrize("known", [True, False])
def test_a_fifo_that_nobody_opens(known: bool) -> None:
    story = Story()
    root = story.command("timeout", "30", "python3", "load.py")
    reader = story.spawn(root, "python3", "load.py")
    stall(story, reader, call_number=OPENAT)
    story.fact(
        WaitStack, reader, thread=reader.tgid, frames="wait_for_partner+0x5/0x9 fifo_open+0x1/0x2"
    )
    story.tick()
    story.signal(root, reader, signal.SIGTERM, comm="timeout")
    if known:
        story.fact(
            LastFailure,
            reader,
            call_number=OPENAT,
            call=CallKind.OPEN,
            error=errno.EINTR,
            subject=SubjectKind.PATH_ASKED,
            path="/data/feed",
            failed_boottime_ns=story.now,
        )
    story.exit(reader, signal=signal.SIGTERM, after_ms=1)
    story.exit(root, 124)
    report = report_of(story)
    assert cause_of(report) == "hang.fifo_partner"
    assert report.hypotheses[0].culprit.path == ("/data/feed" if known else "")


def test_a_slow_open_is_no_fifo() -> None:
    story = Story()
    root = story.command("timeout", "30", "python3", "load.py")
    reader = story.spawn(root, "python3", "load.py")
    stall(story, reader, call_number=OPENAT, thread_state=2)
    story.fact(
        WaitStack, reader, thread=reader.tgid, frames="rpc_wait_bit+0x5/0x9 nfs_open+0x1/0x2"
    )
    story.tick()
    story.signal(root, reader, signal.SIGTERM, comm="timeout")
    story.exit(reader, signal=signal.SIGTERM, after_ms=1)
    story.exit(root, 124)
    assert "hang.fifo_partner" not in [h.cause for h in report_of(story).hypotheses]


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGSTOP, 0, "SIGSTOP of"),
        (signal.SIGTTIN, 128, "because it read from the terminal in the background"),
    ],
)
def test_a_process_that_nobody_continues(number: int, code: int, said: str) -> None:
    story = Story()
    root = story.command("timeout", "30", "python3", "load.py")
    step = story.spawn(root, "python3", "load.py")
    other = story.spawn(root, "bash", "guard.sh")
    story.signal(other, step, number, code=code, comm="guard")
    stall(story, step, call_number=NANOSLEEP, thread_state=4, timed=1)
    story.signal(root, step, signal.SIGTERM, comm="timeout")
    story.exit(step, signal=signal.SIGTERM, after_ms=1)
    story.exit(other)
    story.exit(root, 124)
    report = report_of(story)
    lead = report.hypotheses[0]
    assert cause_of(report) == "hang.stopped" and said in lead.summary
    assert lead.culprit.pid == (other.tgid if code == 0 else step.tgid)


def test_a_process_that_was_continued_and_waits_for_another_reason() -> None:
    story = Story()
    root = story.command("timeout", "30", "python3", "load.py")
    step = story.spawn(root, "python3", "load.py")
    story.signal(root, step, signal.SIGSTOP, comm="timeout")
    story.signal(root, step, signal.SIGCONT, comm="timeout")
    stall(story, step, call_number=READ, waits_on=WaitObject.PIPE, inode=9)
    story.signal(root, step, signal.SIGTERM, comm="timeout")
    story.exit(step, signal=signal.SIGTERM, after_ms=1)
    story.exit(root, 124)
    assert "hang.stopped" not in [h.cause for h in report_of(story).hypotheses]


def test_a_stop_that_ended_well_is_no_incident() -> None:
    story = Story()
    root = story.command("python3", "load.py")
    story.signal(root, root, signal.SIGSTOP)
    stall(story, root, thread_state=4)
    story.signal(root, root, signal.SIGCONT)
    story.exit(root, after_ms=5_000)
    assert report_of(story).verdict == "healthy"
