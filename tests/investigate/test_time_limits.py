"""Ages at which a process was ended, and limits that are common."""

from __future__ import annotations

import signal

import pytest

from receiver.events import ProcessSample, ThreadWait
from receiver.investigate.causes.limits import common_limit
from receiver.investigate.evidence import STRONG
from receiver.units import SECOND
from tests.builders import MS, Story
from tests.investigate.telling import cause_of, report_of


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
