"""What the looks at a process say: when it is short of something, when it is idle,
who took what."""

from __future__ import annotations

from typing import Any

import pytest

from receiver import semconv as sc
from receiver.events import EarlySample, Neighbour, ProcessKey, ProcessSample, ThreadWait
from receiver.facts.neighbours import Neighbours
from receiver.facts.usage import LOOKS, Usage
from receiver.units import MIB, SECOND
from tests.builders import Calls, Story, attributes

SPINNER = ProcessKey(88, 5)


def looked(story: Story, key: ProcessKey, *, seconds: float = 1.0, **fields: Any) -> None:
    """One look at the process and at a neighbour that computes, that much later, and the tick."""
    story.step(seconds * 1000)
    story.fact(Neighbour, SPINNER, cpu_ns=SECOND, interval_ns=SECOND, comm="spinner")
    story.fact(ProcessSample, key, **({"threads": 1, "memory_cgroup_id": 5} | fields))
    story.tick(0)


def usage_of(story: Story, key: ProcessKey) -> Usage:
    usage = story.core.facts.usage.of(key)
    assert usage is not None
    return usage


def contended(story: Story) -> list[object]:
    return [
        attributes(r)[sc.PIPELINE_CONTENTION_RESOURCE]
        for r in story.events(sc.EVENT_PIPELINE_TASK_CONTENTION)
    ]


@pytest.mark.parametrize(("share", "found"), [(0.25, []), (0.5, ["cpu"])])
def test_three_tenths_of_its_running_time_in_a_queue_are_contention(
    share: float, found: list[str]
) -> None:
    story = Story()
    worker = story.task("transform")
    for step in range(10):
        cpu = int(step * SECOND * (1 - share))
        looked(story, worker, run_delay_ns=int(step * SECOND * share), cpu_runtime_ns=cpu)
    assert contended(story) == found


@pytest.mark.parametrize(("pressed", "found"), [(LOOKS - 1, []), (LOOKS, ["cpu"])])
def test_so_many_looks_in_a_row_are_contention_and_one_less_is_none(
    pressed: int, found: list[str]
) -> None:
    story = Story()
    worker = story.task("transform")
    for step in range(12):
        delayed = min(step, pressed) * SECOND // 2
        looked(story, worker, run_delay_ns=delayed, cpu_runtime_ns=step * SECOND // 2)
    assert contended(story) == found


@pytest.mark.parametrize(("permille", "idle"), [(1, True), (20, False)])
def test_a_process_with_two_percent_of_a_cpu_is_at_work(permille: int, idle: bool) -> None:
    story = Story()
    worker = story.task("transform")
    for step in range(6):
        looked(story, worker, cpu_runtime_ns=step * SECOND * permille // 1000)
    usage = usage_of(story, worker)
    assert bool(story.core.facts.waits.of(worker).idle_since_ns) is idle
    assert (usage.idle_period is not None and usage.idle_period.ns > 4 * SECOND) is idle


def test_the_longest_time_of_nothing_is_kept_with_its_waits() -> None:
    """Four seconds in a lock, some work, one second in another call:
    the four seconds are what is asked for later."""
    story = Story()
    worker = story.task("transform")
    cpu = SECOND
    for wait, looks in ((202, 4), (0, 1)):
        looked(story, worker, cpu_runtime_ns=cpu)
        story.fact(ThreadWait, worker, thread=worker.tgid, call_number=wait, thread_state=1)
        for _ in range(looks):
            looked(story, worker, cpu_runtime_ns=cpu)
        cpu += SECOND
    looked(story, worker, cpu_runtime_ns=cpu)
    idle_period = usage_of(story, worker).idle_period
    assert idle_period is not None and 4 * SECOND <= idle_period.ns < 6 * SECOND
    assert [w.call_number for w in idle_period.waits] == [202]


@pytest.mark.parametrize(("used", "presses"), [(60, False), (98, True)])
def test_pages_are_read_back_for_want_of_memory_only_in_a_full_cgroup(
    used: int, presses: bool
) -> None:
    story = Story()
    worker = story.task("transform")
    for step in range(6):
        looked(
            story,
            worker,
            cpu_runtime_ns=step * SECOND,
            major_faults=step * 400,
            read_bytes=step * 4 * MIB,
            memory_usage_bytes=used * MIB,
            memory_limit_bytes=100 * MIB,
        )
    assert ("faults" in usage_of(story, worker).worst) is presses


def test_a_neighbour_that_shrank_took_nothing() -> None:
    """The kernel tells the change as 64 bits: what was given back must not look like all memory
    there is."""
    story, table = Story(), Neighbours()

    def note(event: object) -> None:
        if isinstance(event, Neighbour):
            table.add(event)

    story.core.listeners.add(Calls(event=note))
    for pid, change in ((81, -50 * MIB), (82, 10 * MIB)):
        story.fact(
            Neighbour,
            ProcessKey(pid, 5),
            rss_growth_bytes=change % (1 << 64),
            comm=f"n{pid}",
            interval_ns=SECOND,
        )
    assert {t.pid: t.growth_bytes for t in table.all(story.now)} == {81: -50 * MIB, 82: 10 * MIB}
    most = table.top(story.now)
    assert most is not None and most.pid == 82


@pytest.mark.parametrize(
    ("first", "each", "apart", "told"),
    [
        pytest.param(50, 4, 10, False, id="half full, and two minutes from the limit"),
        pytest.param(50, 4, 1, True, id="half full, and ten seconds from the limit"),
        pytest.param(10, 4, 1, False, id="a quarter full, and twenty seconds from the limit"),
    ],
)
def test_growth_is_told_when_the_limit_is_near_in_bytes_and_in_time(
    first: int, each: int, apart: int, told: bool
) -> None:
    story = Story()
    worker = story.task("transform")
    for step in range(LOOKS):
        used = (first + step * each) * MIB
        looked(
            story,
            worker,
            seconds=apart,
            anon_bytes=used,
            cpu_runtime_ns=step * SECOND,
            memory_usage_bytes=used,
            memory_limit_bytes=100 * MIB,
        )
    assert bool(story.events(sc.EVENT_PROCESS_MEMORY_GROWTH)) is told


def test_looks_at_a_young_process_are_points_of_its_curve_and_no_sample() -> None:
    """They come five times a second: a condition that holds in so many samples in a row is not
    counted by them."""
    story = Story()
    step = story.task("load")
    for number in range(10):
        story.step(200)
        story.fact(
            EarlySample,
            step,
            anon_bytes=(1 + number) * 20 * MIB,
            cpu_runtime_ns=number * SECOND // 5,
        )
    usage = usage_of(story, step)
    assert len(usage.curve.points) == 10
    assert usage.curve.peak == 200 * MIB
    assert (usage.first, usage.last, usage.recent, usage.pressure) == (None, None, (), {})
    assert len(usage.early) == LOOKS
    assert contended(story) == []
