"""Time that went into waiting for a CPU: what it brings about, and what it does not."""

from __future__ import annotations

import signal

import pytest

from receiver.events import ProcessKey, ProcessSample
from receiver.units import MIB, SECOND
from tests.builders import MS, Story
from tests.investigate.telling import cause_of, concluded, follows, report_of, waits_for_a_cpu


@pytest.mark.parametrize(("throttled", "after"), [(9, ["cpu.quota"]), (0, [])])
def test_waiting_for_a_cpu_follows_from_the_quota_of_its_own_cgroup(
    throttled: int, after: list[str]
) -> None:
    story = Story()
    root = story.command("python3", "load.py")
    for step in range(12):
        story.step(1_000)
        story.fact(
            ProcessSample,
            root,
            threads=1,
            run_delay_ns=step * SECOND // 2,
            cpu_runtime_ns=step * SECOND // 2,
            cpu_periods=step * 10,
            throttled_periods=step * throttled,
            throttled_ns=step * throttled * 10 * MS,
        )
        story.tick(0)
    story.exit(root)
    assert follows(concluded(story, root), "cpu.neighbour") == after


@pytest.mark.parametrize(("throttled", "after"), [(9, ["cpu.quota"]), (0, [])])
def test_the_longest_of_some_parts_follows_from_its_own_quota(
    throttled: int, after: list[str]
) -> None:
    story = Story()
    root = story.command("python3", "drive.py")
    parts = [story.spawn(root, "python3", "part.py", str(n)) for n in range(4)]
    for number, part in enumerate(parts):
        size = (100 if number == 3 else 10) * MIB
        story.reads(part, f"/data/part-{number}.csv", inode=100 + number, size=size)
    for part in parts[:3]:
        story.exit(part, after_ms=200)
    for step in range(8):
        story.step(1_000)
        story.fact(
            ProcessSample,
            parts[3],
            threads=1,
            cpu_runtime_ns=step * SECOND // 2,
            cpu_periods=step * 10,
            throttled_periods=step * throttled,
            throttled_ns=step * throttled * 10 * MS,
        )
        story.tick(0)
    story.exit(parts[3])
    story.exit(root)
    assert follows(concluded(story, root), "data.skew") == after


@pytest.mark.parametrize(("life", "verdict"), [(40, "healthy"), (8, "degraded")])
def test_a_quota_degrades_a_success_only_when_it_took_much_of_its_life(
    life: int, verdict: str
) -> None:
    story = Story()
    root = story.command("python3", "load.py")
    for step in range(life):
        story.step(1_000)
        throttled = min(step, 6) * 9
        story.fact(
            ProcessSample,
            root,
            threads=1,
            cpu_runtime_ns=step * SECOND // 2,
            cpu_periods=step * 10,
            throttled_periods=throttled,
            throttled_ns=throttled * 10 * MS,
        )
        story.tick(0)
    story.exit(root)
    assert report_of(story).verdict == verdict


@pytest.mark.parametrize(("waited_ms", "told"), [(3_000, True), (500, False)])
def test_a_time_limit_names_the_time_that_went_into_waiting_for_a_cpu(
    waited_ms: int, told: bool
) -> None:
    """Its samples may be late on a host so busy; the end of the process has the whole sum."""
    story = Story()
    root = story.command("bash", "job.sh")
    guard = story.spawn(root, "timeout", "4", "python3", "load.py")
    step = story.spawn(guard, "python3", "load.py")
    story.step(4_000)
    story.signal(guard, step, signal.SIGTERM, comm="timeout")
    story.exit(step, signal=signal.SIGTERM, after_ms=1, run_delay_ns=waited_ms * MS)
    story.exit(guard, 124)
    story.exit(root, 124)
    report = report_of(story)
    assert cause_of(report) == "kill.timeout_orphan"
    found = [w.text for w in report.hypotheses[0].weighed if "waited for a CPU" in w.text]
    assert bool(found) is told
    if told:
        assert found[0].startswith(f"The threads of python3 ({step.tgid}) had waited for a CPU")


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
