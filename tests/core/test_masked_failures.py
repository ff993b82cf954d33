"""Failures that a parent hides, passes on, or takes back."""

from __future__ import annotations

import signal

import pytest

from receiver.signals import Severity
from tests.builders import Story, attributes


def test_a_killed_child_behind_a_parents_success_is_a_masked_failure() -> None:
    story = Story()
    root = story.command("bash")
    child = story.spawn(root, "python3")
    story.oom(child)
    story.exit(child, signal=9)
    story.exit(root, 0)
    facts = attributes(story.events("pipeline.task.result_mismatch")[0])
    assert (facts["process.pid"], facts["pipeline.task.run.result"]) == (child.tgid, "failure")
    task = attributes(story.span("task job"))
    assert (task["pipeline.task.run.result"], task["pipeline.task.run.reported_result"]) == (
        "failure",
        "success",
    )
    assert task["error.type"] == "masked_failure"


def test_the_culprit_below_a_failing_wrapper_is_named() -> None:
    story = Story()
    root = story.command("bash")
    timeout = story.spawn(root, "timeout", "1", "python3")
    writer = story.spawn(timeout, "python3")
    story.signal(timeout, writer, signal.SIGTERM, comm="timeout")
    story.open_file(writer, "/data/out.csv")
    story.exit(writer, signal=15)
    story.exit(timeout, 124)
    story.exit(root, 0)
    mismatches = story.events("pipeline.task.result_mismatch")
    assert [attributes(m)["process.pid"] for m in mismatches] == [writer.tgid]
    assert f"below timeout ({timeout.tgid})" in mismatches[0].body


def test_the_culprit_is_named_however_long_the_script_goes_on() -> None:
    story = Story()
    root = story.command("bash")
    timeout = story.spawn(root, "timeout", "1", "python3")
    writer = story.spawn(timeout, "python3")
    story.signal(timeout, writer, signal.SIGTERM, comm="timeout")
    story.open_file(writer, "/data/out.csv")
    story.exit(writer, signal=15)
    story.exit(timeout, 124)
    helper = story.spawn(root, "tail")
    story.signal(root, helper, signal.SIGTERM)
    story.exit(helper, signal=15)
    for _ in range(30):
        story.tick(60)
    story.exit(root, 0)
    facts = [attributes(m) for m in story.events("pipeline.task.result_mismatch")]
    assert [(f["process.pid"], f["process.exit.code"]) for f in facts] == [(writer.tgid, 143)]
    assert attributes(story.span("task job"))["pipeline.task.run.result"] == "failure"


def test_a_failure_that_the_parent_passes_on_is_not_masked() -> None:
    story = Story()
    root = story.command("bash")
    child = story.spawn(root, "python3")
    story.exit(child, 2)
    story.exit(root, 2)
    assert not story.events("pipeline.task.result_mismatch")
    assert attributes(story.span("task job"))["error.type"] == "exit_2"


@pytest.mark.parametrize(
    ("argv", "code", "after_ms"),
    [(("grep", "x"), 1, 50), (("locale", "x"), 1, 2), (("readlink", "x"), 1, 400)],
)
def test_answers_are_not_failures(argv: tuple[str, ...], code: int, after_ms: float) -> None:
    story = Story()
    root = story.command("bash")
    child = story.spawn(root, *argv)
    story.exit(child, code, after_ms=after_ms)
    story.exit(root, 0)
    assert not story.events("pipeline.task.result_mismatch")


def test_a_plain_failure_is_masked_but_does_not_turn_the_result() -> None:
    story = Story()
    root = story.command("bash")
    child = story.spawn(root, "dbt", "run")
    story.exit(child, 2)
    story.exit(root, 0)
    assert len(story.events("pipeline.task.result_mismatch")) == 1
    assert attributes(story.span("task job"))["pipeline.task.run.result"] == "success"


def test_a_repeated_command_that_succeeds_takes_its_failure_back() -> None:
    story = Story()
    root = story.command("bash")
    for code in (2, 2, 0):
        story.exit(story.spawn(root, "pg_isready"), code)
    story.exit(root, 0)
    assert not story.events("pipeline.task.result_mismatch")


def test_a_helper_that_its_own_script_stops_is_not_masked() -> None:
    story = Story()
    root = story.command("bash")
    helper = story.spawn(root, "tail", "-f", "log")
    story.signal(root, helper, signal.SIGTERM)
    story.exit(helper, signal=15)
    story.exit(root, 0)
    assert not story.events("pipeline.task.result_mismatch")
    assert story.events("process.killed")[0].severity == Severity.WARN
