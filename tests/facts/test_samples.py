"""Samples of memory and CPU: growth, neighbours, contention."""

from __future__ import annotations

import pytest

from receiver import semconv as sc
from receiver.events import (
    Neighbour,
    ProcessKey,
    ProcessSample,
)
from receiver.facts.neighbours import NEIGHBOURS
from receiver.facts.usage import CURVE_POINTS, Curve
from receiver.units import MIB, SECOND
from tests.builders import Story, attributes
from tests.facts.records import look, sample


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
