"""Hangs at a lock: the holder was killed, or a fork had left it locked."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from receiver.events import ProcessKey, ProcessSample, ThreadedFork, ThreadWait, WaitObject
from receiver.investigate.report import Report
from receiver.units import SECOND
from tests.builders import Story
from tests.investigate.telling import report_of
from tests.investigate.test_kill_origins import FUTEX, READ, told

LOCK = {"inode": 1000, "address_low": 32}


def idles(story: Story, key: ProcessKey, **wait: Any) -> None:
    """A process that does nothing for some seconds, and waits for something."""
    for _ in range(7):
        story.fact(ProcessSample, key, threads=1)
        story.fact(ThreadWait, key, thread=key.tgid, idle_ns=2 * SECOND, **wait)
        story.step(1_000)


def pool(
    *, doing: int = READ, lock: dict[str, int] | None = None, reads: bool = False
) -> tuple[Story, Report]:
    """A parent kills one of its workers; two others wait for a lock. `doing`:
    the call that the killed one was in; `reads`: a third worker waits at the queue's pipe."""
    story = Story()
    root = story.command("timeout", "20", "python3", "pool.py")
    parent = story.spawn(root, "python3", "pool.py")
    workers = [story.fork(parent) for _ in range(3 + reads)]
    told_with = LOCK if doing == FUTEX else {"waits_on": WaitObject.PIPE, "inode": 77}
    story.signal(parent, workers[0], signal.SIGKILL, comm="python3")
    told(
        story,
        parent,
        workers[0],
        signal.SIGKILL,
        sender_comm="python3",
        call_number=doing,
        **told_with,
    )
    story.exit(workers[0], signal=signal.SIGKILL)
    for worker in workers[1:3]:
        idles(story, worker, call_number=FUTEX, **(LOCK if lock is None else lock))
    if reads:
        idles(story, workers[3], call_number=READ, waits_on=WaitObject.PIPE, inode=77)
    for each in (*workers[1:], parent):
        story.signal(root, each, signal.SIGTERM, comm="timeout")
        story.exit(each, signal=signal.SIGTERM)
    story.exit(root, 124)
    return story, report_of(story)


def test_workers_that_wait_for_the_lock_of_one_that_was_killed() -> None:
    _, report = pool()
    lead = report.hypotheses[0]
    assert (lead.cause, lead.culprit.name) == ("hang.lock_holder_killed", "pool.py")
    assert "2 processes wait for one" in lead.summary
    assert not any("threads then" in w.text for h in report.hypotheses for w in h.weighed)


@pytest.mark.parametrize(
    "how",
    [
        {"doing": FUTEX},  # the killed one waited for that lock as the others did
        {"lock": {"inode": 0, "address_low": 0}},  # no lock that processes share
    ],
)
def test_a_kill_of_one_that_held_nothing_is_not_the_reason(how: dict[str, Any]) -> None:
    _, report = pool(**how)
    assert "hang.lock_holder_killed" not in {h.cause for h in report.hypotheses}


def test_a_living_worker_may_hold_the_lock_instead() -> None:
    _, report = pool(reads=True)
    found = next((h for h in report.hypotheses if h.cause == "hang.lock_holder_killed"), None)
    assert found is None or any(
        w.role == "contradicts" and "lived and did not wait for it" in w.text for w in found.weighed
    )


@pytest.mark.parametrize(("threads", "blamed"), [(3, True), (0, False)])
def test_the_threads_of_the_parent_count_at_the_fork(threads: int, blamed: bool) -> None:
    """A sample of the parent after the fork counts threads that came later."""
    story = Story()
    root = story.command("timeout", "20", "python3", "pool.py")
    parent = story.spawn(root, "python3", "pool.py")
    child = story.fork(parent)
    if threads:
        story.say(ThreadedFork, process=child, parent=parent, threads=threads)
    story.fact(ProcessSample, parent, threads=5)
    idles(story, child, call_number=FUTEX)
    story.signal(root, child, signal.SIGTERM, comm="timeout")
    story.exit(child, signal=signal.SIGTERM)
    story.exit(parent, 1)
    story.exit(root, 124)
    texts = [w.text for h in report_of(story).hypotheses for w in h.weighed]
    assert any("that had 3 threads then" in t for t in texts) is blamed
    assert not any("5 threads" in t for t in texts)


@pytest.mark.parametrize("freed", [True, False])
def test_a_worker_that_ends_well_by_itself_did_not_wait_for_ever(freed: bool) -> None:
    """An idle worker of a pool waits at the lock of the queue until its parent closes it."""
    story = Story()
    root = story.command("python3", "pool.py")
    worker = story.fork(root)
    idles(story, worker, call_number=FUTEX)
    if not freed:
        story.signal(root, worker, signal.SIGTERM, comm="python3")  # it handled it
    story.exit(worker)
    story.exit(root, 1)
    causes = {h.cause for h in report_of(story).hypotheses}
    assert ("hang.fork_lock" in causes) is not freed
