"""Runs that succeed and lose time or an attempt, and runs in which work failed."""

from __future__ import annotations

import pytest

from receiver.events import ConnectionStage
from receiver.units import SECOND
from tests.builders import Story
from tests.investigate.peers import link, resets
from tests.investigate.telling import report_of, waits_for_a_cpu


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
