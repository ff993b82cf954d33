"""Failures behind a status of success, or behind the status of somebody else."""

from __future__ import annotations

import errno
import signal

import pytest

from receiver.events import CallKind
from tests.builders import Story
from tests.investigate.telling import cause_of, last_failed, report_of


def test_a_masked_failure_leads_where_the_task_is_green() -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    step = story.spawn(root, "python3", "extract.py")
    story.exit(step, 3, after_ms=400)
    story.exit(root, 0)
    report = report_of(story)
    assert (cause_of(report), report.hypotheses[0].culprit.pid) == ("proc.exit_masked", root.tgid)
    assert report.symptoms[0].text.endswith("the task reported success.")


def test_a_shell_that_hands_a_status_on_is_not_accused() -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    step = story.spawn(root, "python3", "x.py")
    story.signal(step, step, signal.SIGSEGV, code=1)
    story.exit(step, signal=signal.SIGSEGV)
    story.exit(root, 139)
    report = report_of(story)
    assert (cause_of(report), report.hypotheses[0].culprit.pid) == ("crash.segv", step.tgid)


def test_a_service_that_is_stopped_by_who_started_it_masks_nothing() -> None:
    """Asked, then killed with its parent: nothing was lost. Killed without a word while at work:
    something was."""
    for asked in (True, False):
        story = Story()
        root = story.command("python3", "drive.py")
        service = story.spawn(root, "python3", "scheduler.py")
        worker = story.fork(service)
        story.step(3_000)
        for number in (signal.SIGTERM, signal.SIGKILL) if asked else (signal.SIGKILL,):
            for each in (service, worker):
                story.signal(root, each, number, comm="python3")
            story.step(1_000)
        story.exit(worker, signal=signal.SIGKILL, after_ms=1)
        story.exit(service, signal=signal.SIGKILL, after_ms=1)
        story.exit(root)
        report = report_of(story)
        assert (report.verdict, report.execution.outcome) == (
            ("healthy", "success") if asked else ("incident", "failure")
        )


@pytest.mark.parametrize(("status", "cause"), [(1, "proc.exit_masked"), (3, "none.not_visible")])
def test_a_failure_that_a_pipe_swallowed_and_a_check_found_later(status: int, cause: str) -> None:
    """`step | tail` and then a test that fails: the shell's own status is another one.
    With pipefail it is the step's."""
    story = Story()
    root = story.command("bash", "job.sh")
    step, reader = story.fork(root), story.fork(root)
    story.exec(step, "python3", "step.py", stdout_inode=77, parent=root)
    story.exec(reader, "tail", "-n", "1", stdin_inode=77, parent=root)
    story.exit(step, 3, after_ms=300)
    story.exit(reader)
    story.exit(root, status)
    assert cause_of(report_of(story)) == cause


@pytest.mark.parametrize(
    ("status", "after_ms", "cause"),
    [(1, 30, "fs.path_exists"), (3, 30, "none.not_visible"), (1, 5_000, "none.not_visible")],
)
def test_a_worker_that_hands_a_failure_on_and_ends_well(
    status: int, after_ms: float, cause: str
) -> None:
    story = Story()
    root = story.command("python3", "pool.py")
    worker = story.fork(root)
    step = story.spawn(worker, "node", "load.js")
    story.step(500)
    last_failed(
        story, step, call=CallKind.OPEN, call_number=2, error=errno.EEXIST, path="/data/out.csv"
    )
    story.exit(step, 1, after_ms=1)
    story.exit(worker, 0, after_ms=5)
    story.exit(root, status, after_ms=after_ms)
    assert cause_of(report_of(story)) == cause


@pytest.mark.parametrize(("status", "cause"), [(1, "none.not_visible"), (4, "proc.exit_masked")])
def test_a_pool_hands_any_failure_on_with_the_status_of_an_exception(
    status: int, cause: str
) -> None:
    """A worker ends well, and its root with status 1: the failure of the step was not masked."""
    story = Story()
    root = story.command("python3", "pool.py")
    worker = story.fork(root)
    step = story.spawn(worker, "collect", "stock")
    story.exit(step, 7, after_ms=500)
    story.exit(worker, 0, after_ms=5)
    story.exit(root, status, after_ms=40)
    assert cause_of(report_of(story)) == cause
