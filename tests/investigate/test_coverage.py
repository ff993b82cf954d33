"""A missing trace decides against a rival only where it would have been seen."""

from __future__ import annotations

import os
import signal

import pytest

from receiver.events import ProcessSample
from receiver.model import Unseen
from receiver.units import SECOND
from tests.builders import Story
from tests.investigate.telling import report_of

KILLED_BY_A_PARENT = "kill.supervisor"


def killed(story: Story, looks: int, *, lost: int = 0) -> dict[str, str]:
    """Why each rival is ruled out for a process that its parent ended."""
    root = story.command("python3", "drive.py")
    step = story.spawn(root, "python3", "load.py")
    for n in range(looks):
        story.step(1_000)
        story.fact(ProcessSample, step, threads=1, cpu_runtime_ns=n * SECOND)
        story.tick(0)
    if lost:
        story.session.losses({("oom_kill", "ring_full"): lost}, story.now)
    story.signal(root, step, signal.SIGKILL, comm="python3")
    story.exit(step, signal=signal.SIGKILL)
    story.exit(root, 1)
    lead = report_of(story).hypotheses[0]
    assert lead.cause == KILLED_BY_A_PARENT
    return {r.cause: r.because for r in lead.ruled_out}


def test_what_would_have_been_seen_is_denied() -> None:
    said = killed(Story(), looks=12)
    assert said["mem.cgroup_oom"].startswith("The kernel's OOM killer chose none")
    assert said["mem.userspace_killer"].startswith("No event shows")


def test_a_process_that_was_too_short_for_two_looks_is_said_to_be() -> None:
    said = killed(Story(), looks=0)
    assert "looked at it less than twice" in said["mem.userspace_killer"]
    assert said["mem.cgroup_oom"].startswith("The kernel's OOM killer chose none")


@pytest.mark.parametrize(
    ("lost", "words"),
    [(1, "1 event of that kind was lost."), (2, "2 events of that kind were lost.")],
)
def test_lost_events_leave_it_open(lost: int, words: str) -> None:
    assert killed(Story(), looks=12, lost=lost)["mem.cgroup_oom"].endswith(words)


@pytest.mark.parametrize("kinds", [("oom_kill",), ("file_opened",)])
def test_a_hook_that_is_missing_leaves_open_what_it_would_have_told(kinds: tuple[str, ...]) -> None:
    story = Story()
    unseen = Unseen("which process the OOM killer chose (eBPF is not used)", kinds)
    story.session.unseen((unseen,), story.now)
    said = killed(story, looks=12)["mem.cgroup_oom"]
    assert (unseen.text in said) == (kinds == ("oom_kill",))
    assert said.startswith("An observation is missing") == (kinds == ("oom_kill",))


def test_a_file_that_two_processes_wrote_is_one_file() -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    steps = [story.spawn(root, "tee", "-a", "out.csv") for _ in range(2)]
    openings = [story.opens(s, "/data/out.csv", os.O_WRONLY | os.O_APPEND, inode=7) for s in steps]
    for step, opening in zip(steps, openings, strict=True):
        story.closes(step, opening, written=100)
        story.exit(step)
    story.exit(root)
    said = [n.text for n in report_of(story).normality]
    assert "1 file was written and closed by the writers." in said
