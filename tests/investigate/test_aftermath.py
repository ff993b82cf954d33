"""Failures after which the parent went on: what is said of them, and when they are made good."""

from __future__ import annotations

import os
import signal

import pytest

from receiver.events import ProcessKey
from receiver.investigate.case import Case
from receiver.investigate.snapshot import ProcessSnapshot
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
        f"python3 ({step.tgid}) exited with status 3; python3 ({again.tgid}) ran the same command "
        "later, and exited with status 0."
    )
    assert report.verdict == "healthy" and text in [line.text for line in report.normality]


@pytest.mark.parametrize("becomes", [False, True])
def test_a_file_that_was_written_again_is_named(*, becomes: bool) -> None:
    """Whether it was the same work, nobody can see."""
    story = Story()
    root = story.command("bash", "-c", "A; B")
    step = fails(story, root)
    again = root if becomes else story.spawn(root, "perl", "second.pl")
    if becomes:
        story.exec(root, "perl", "second.pl")
    writes(story, again, "/data/a.csv")
    story.exit(again, after_ms=400)
    if not becomes:
        story.exit(root)
    report = report_of(story)
    text = (
        f"python3 ({step.tgid}) exited with status 3; perl ({again.tgid}) opened /data/a.csv for "
        "writing later, too, and exited with status 0."
    )
    assert report.verdict == "healthy" and text in [line.text for line in report.normality]


@pytest.mark.parametrize(("after_ms", "told"), [(20, True), (20_000, False)])
def test_a_healthy_report_names_who_asked_a_process_to_end(after_ms: int, told: bool) -> None:
    """It had a handler and ended well; without this line, nothing would show why it ended then."""
    story = Story()
    root = story.command("python3", "serve.py")
    story.step(3_000)
    story.signal(ProcessKey(666, 5), root, signal.SIGTERM, comm="deployer", handled=1)
    story.exit(root, after_ms=after_ms)
    report = report_of(story)
    found = [line.text for line in report.normality if "SIGTERM" in line.text]
    assert report.verdict == "healthy" and bool(found) is told
    if told:
        assert found[0].startswith(f"python3 ({root.tgid}) exited with status 0 0.02 s after")
        assert "deployer (666" in found[0] and "not part of this run" in found[0]


def test_an_end_that_its_own_starter_asked_for_is_no_line() -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    helper = story.spawn(root, "python3", "serve.py")
    story.step(3_000)
    story.signal(root, helper, signal.SIGTERM, comm="bash", handled=1)
    story.exit(helper, after_ms=20)
    story.exit(root)
    assert not [line for line in report_of(story).normality if "SIGTERM" in line.text]


def test_each_process_is_looked_into_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not once for each failure below the same parent."""
    looked: list[ProcessSnapshot] = []
    below = Case.below

    def counted(case: Case, actor: ProcessSnapshot) -> list[ProcessSnapshot]:
        looked.append(actor)
        return below(case, actor)

    monkeypatch.setattr(Case, "below", counted)
    story = Story()
    root = story.command("bash", "job.sh")
    for number in range(40):
        story.exit(story.spawn(root, "python3", f"first{number}.py"), 3, after_ms=400)
        story.exit(story.spawn(root, "perl", f"second{number}.pl"), after_ms=400)
    story.exit(root)
    assert report_of(story).verdict == "degraded"
    assert len(looked) < 10 * 80


def test_no_process_is_invented_that_the_parent_went_on_with() -> None:
    """A worker of the same command succeeds beside it, and nothing is started after the failure."""
    story = Story()
    root = story.command("bash", "job.sh")
    first, second = (story.spawn(root, "python3", "load.py") for _ in range(2))
    story.exit(first, 3, after_ms=400)
    story.exit(second, after_ms=100)
    story.exit(root)
    report = report_of(story)
    assert report.verdict == "degraded"
    assert report.hypotheses[0].summary == (
        f"python3 ({first.tgid}) exited with status 3; bash ({root.tgid}) went on, and exited with "
        "status 0."
    )


@pytest.mark.parametrize("becomes", [False, True])
def test_the_shell_goes_on_and_not_its_fork_that_ended(*, becomes: bool) -> None:
    """`( A; true ); B`: a shell may become B."""
    story = Story()
    root = story.command("bash", "job.sh")
    fork = story.fork(root, comm="bash")
    step = story.spawn(fork, "python3", "first.py")
    story.exit(step, 3, after_ms=400)
    story.exit(story.spawn(fork, "grep", "x"), after_ms=1)
    story.exit(fork)
    after = root if becomes else story.spawn(root, "perl", "second.pl")
    if becomes:
        story.exec(root, "perl", "second.pl")
    story.exit(after, after_ms=400)
    went_on = f"the process above it went on as perl ({root.tgid})"
    if not becomes:
        story.exit(root)
        went_on = f"bash ({root.tgid}) went on with perl ({after.tgid})"
    assert report_of(story).hypotheses[0].summary == (
        f"python3 ({step.tgid}) exited with status 3; {went_on}, and exited with status 0."
    )


@pytest.mark.parametrize("known", [True, False])
def test_a_short_command_of_the_run_is_no_stranger(*, known: bool) -> None:
    """`kill PID` of the script lives for so short a time that it is only counted."""
    story = Story()
    root = story.command("bash", "job.sh")
    helper = story.spawn(root, "python3", "serve.py")
    story.step(3_000)
    sender = story.spawn(root, "kill", str(helper.tgid)) if known else ProcessKey(666, 5)
    story.signal(sender, helper, signal.SIGTERM, comm="kill", handled=1)
    if known:
        story.exit(sender, after_ms=1)
    story.exit(helper, after_ms=20)
    story.exit(root)
    told = [line.text for line in report_of(story).normality if "SIGTERM" in line.text]
    assert [("not part of this run" in text) for text in told] == ([] if known else [True])
