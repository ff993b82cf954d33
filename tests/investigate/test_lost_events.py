"""What lost events change of a conclusion, and what they do not."""

from __future__ import annotations

from tests.builders import Story
from tests.investigate.telling import cause_of, report_of


def test_lost_events_keep_it_from_concluding_from_their_absence() -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    story.core.missing.note_losses({("oom_kill", "ring_full"): 3}, story.now)
    story.exit(story.spawn(root, "python3", "load.py"), 1)
    story.exit(root, 1)
    report = report_of(story)
    assert report.verdict == "incomplete"
    assert report.completeness.lost[0]["kind"] == "oom_kill"


def test_events_that_processes_without_work_lost_are_listed_and_change_no_conclusion() -> None:
    """Anybody can cause these: they must not take a report's certainty away, nor push other losses
    out of it."""
    story = Story()
    root = story.command("bash", "job.sh")
    story.core.missing.note_losses({("signal", "ring_full"): 3}, story.now)
    for count in range(1, 100):
        story.core.missing.note_losses({("exit", "unwatched"): count}, story.now)
    case = story.core.case(next(iter(story.core.executions.open.values())), story.now)
    assert [(h.kind, h.reason) for h in case.losses] == [("signal", "ring_full")] and len(
        case.unwatched_losses
    ) == 32

    story = Story()
    root = story.command("bash", "job.sh")
    story.core.missing.note_losses({("oom_kill", "unwatched"): 3}, story.now)
    story.exit(story.spawn(root, "python3", "load.py"), 1)
    story.exit(root, 1)
    report = report_of(story)
    assert report.verdict == "not_visible"
    assert report.completeness.lost[0]["reason"] == "unwatched"


def test_lost_events_lower_the_confidence_of_what_is_concluded() -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    step = story.spawn(root, "python3", "load.py")
    story.core.missing.note_losses({("signal", "ring_full"): 3}, story.now)
    story.oom(step)
    story.exit(step, signal=9)
    story.exit(root, 137)
    report = report_of(story)
    assert cause_of(report) == "mem.cgroup_oom"
    assert report.hypotheses[0].confidence <= 0.75
    assert any("could change this answer" in e.text for e in report.hypotheses[0].weighed)
