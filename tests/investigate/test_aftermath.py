"""Failures after which the parent went on: what is said of them, and when they are made good."""

from __future__ import annotations

import os

import pytest

from receiver.events import ProcessKey
from tests.builders import Story
from tests.investigate.telling import report_of


def writes(story: Story, who: ProcessKey, path: str) -> None:
    opened = story.opens(who, path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, inode=42)
    story.closes(who, opened, written=4096, size=4096)


def fails(story: Story, root: ProcessKey, path: str = "/data/a.csv") -> ProcessKey:
    step = story.spawn(root, "python3", "first.py")
    writes(story, step, path)
    story.exit(step, 3, after_ms=400)
    return step


@pytest.mark.parametrize(
    ("path", "verdict"),
    [("/data/a.csv", "healthy"), ("/data/b.csv", "degraded"), ("/data/run.log", "degraded")],
)
def test_the_work_is_done_again_by_who_writes_the_same_file(path: str, verdict: str) -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    fails(story, root, "/data/a.csv" if path.endswith("csv") else path)
    second = story.spawn(root, "perl", "second.pl")
    writes(story, second, path)
    story.exit(second, after_ms=400)
    story.exit(root)
    assert report_of(story).verdict == verdict


@pytest.mark.parametrize(
    ("path", "verdict"), [("/data/a.csv", "healthy"), ("/data/b.csv", "degraded")]
)
def test_a_shell_that_becomes_its_last_command_went_on(path: str, verdict: str) -> None:
    """`bash -c "A || B"` becomes B. What A wrote is not what B wrote."""
    story = Story()
    root = story.command("bash", "-c", "A || B")
    step = fails(story, root)
    story.exec(root, "perl", "second.pl")
    writes(story, root, path)
    story.exit(root, after_ms=400)
    report = report_of(story)
    assert report.verdict == verdict
    if verdict == "degraded":
        summary = report.hypotheses[0].summary
        assert summary == (
            f"python3 ({step.tgid}) exited with status 3; its parent went on as perl "
            f"({root.tgid}), and exited with status 0."
        )


def test_a_healthy_report_names_what_was_made_good() -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    step = fails(story, root)
    again = story.spawn(root, "python3", "first.py")
    story.exit(again, after_ms=400)
    story.exit(root)
    report = report_of(story)
    text = (
        f"python3 ({step.tgid}) exited with status 3; python3 ({again.tgid}) did the same work "
        "later, and exited with status 0."
    )
    assert report.verdict == "healthy" and text in [line.text for line in report.normality]
