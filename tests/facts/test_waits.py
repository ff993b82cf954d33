"""Tasks in which nothing moves, and what they wait for."""

from __future__ import annotations

from typing import Any

import pytest

from receiver import semconv as sc
from receiver.events import (
    ProcessKey,
    ProcessSample,
    ThreadWait,
    WaitObject,
    WaitStack,
)
from receiver.model import CoreOptions
from receiver.units import MIB, SECOND
from tests.builders import Story, attributes
from tests.facts.records import look, sample


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
