"""Runs, tasks and processes as spans and events."""

from __future__ import annotations

from receiver.signals import Severity, SpanKind
from tests.builders import WALL_OFFSET_NS, Story, airflow, attributes
from tests.core.host import INIT


def test_a_command_becomes_run_task_and_process_spans_in_one_trace() -> None:
    story = Story()
    root = story.command("bash", "job.sh", name="nightly")
    child = story.spawn(root, "python3", "load.py")
    story.exit(child)
    story.exit(root)
    run, task, bash, python = (
        story.span(n) for n in ("run nightly", "task nightly", "bash", "python3")
    )
    assert {s.trace_id for s in story.spans} == {run.trace_id}
    assert (run.kind, run.parent_id) == (SpanKind.SERVER, b"")
    assert (task.parent_id, bash.parent_id, python.parent_id) == (
        run.span_id,
        task.span_id,
        bash.span_id,
    )
    assert run.start_ns == task.start_ns == root.start_boottime_ns + WALL_OFFSET_NS
    assert attributes(task)["pipeline.task.run.result"] == "success"
    assert len({s.span_id for s in story.spans}) == 4


def test_process_spans_carry_the_exit_facts() -> None:
    story = Story()
    root = story.command("python3", "x.py")
    story.exit(root, 3)
    facts = attributes(story.span("python3"))
    assert facts["process.exit.code"] == 3
    assert facts["process.exit.cause"] == "exited"
    assert facts["error.type"] == "exit_3"
    assert facts["process.pid"] == root.tgid
    assert facts["process.usage.memory.peak"] == 5 << 20
    assert (facts["process.usage.cpu.user"], facts["process.usage.cpu.system"]) == (0.015, 0.005)
    assert story.span("python3").error == "exit_3"
    assert "process.command_args" not in facts


def test_start_and_end_events_carry_the_ids_of_the_spans_to_come() -> None:
    story = Story()
    root = story.command("true")
    start = story.events("pipeline.task.start")[0]
    assert not story.spans
    story.exit(root)
    task = story.span("task job")
    assert (start.trace_id, start.span_id) == (task.trace_id, task.span_id)
    end = story.events("pipeline.task.end")[0]
    assert (end.span_id, end.severity) == (task.span_id, Severity.INFO)


def test_every_span_is_sent_once() -> None:
    story = Story()
    root = story.spawn(INIT, "bash", environ=airflow())
    story.exit(root)
    story.tick(30)
    late = story.spawn(INIT, "python3", environ=airflow())
    story.exit(late, after_ms=100)
    story.tick(120)
    story.finish()
    ids = [s.span_id for s in story.spans]
    assert len(ids) == len(set(ids))
    assert story.core.attempts.drops["late_process"] == 1


def test_short_and_execless_children_fold_into_their_parent() -> None:
    story = Story()
    root = story.command("bash")
    for _ in range(3):
        story.exit(story.spawn(root, "date"), after_ms=2)
    story.exit(story.fork(root), after_ms=500)
    story.exit(root)
    assert attributes(story.span("bash"))["process.children.folded"] == 4
    assert {s.name for s in story.spans} == {"run job", "task job", "bash"}


def test_a_failing_short_child_gets_its_span() -> None:
    story = Story()
    root = story.command("bash")
    story.exit(story.spawn(root, "mv"), 1, after_ms=1)
    assert story.span("mv").error == "exit_1"


def test_spans_never_hang_below_a_parent_that_is_not_sent() -> None:
    story = Story()
    root = story.command("bash")
    middle = story.fork(root)
    leaf = story.spawn(middle, "python3")
    story.exit(middle, after_ms=2)
    story.exit(leaf)
    story.exit(root)
    sent = {s.span_id for s in story.spans}
    assert all(s.parent_id in sent or s.parent_id == b"" for s in story.spans)


def test_unattributed_processes_make_no_spans_but_are_counted() -> None:
    story = Story()
    stranger = story.spawn(INIT, "nginx")
    story.exit(stranger, 1)
    story.finish()
    assert not story.signals
    assert story.core.policy_drops["unattributed"] == 3
