"""What was lost or never seen, and what a task's report says about it."""

from __future__ import annotations

from receiver.events import ProcessKey
from receiver.investigate.compose import investigate
from receiver.model import Blind
from receiver.units import SECOND
from tests.builders import MS, Story, airflow, attributes
from tests.core.host import INIT


def test_a_reused_pid_is_another_process() -> None:
    story = Story()
    first = story.spawn(INIT, "bash", environ=airflow("a"))
    story.exit(first)
    again = story.fork(INIT, pid=first.tgid)
    story.exit(again, 1)
    story.tick(6)
    assert attributes(story.span("task a"))["pipeline.task.run.result"] == "success"
    assert story.core.policy_drops["unattributed"] == 3  # both forks, and the exit of the second


def test_a_second_exit_of_one_process_is_counted_and_ignored() -> None:
    story = Story()
    root = story.command("bash")
    child = story.spawn(root, "python3")
    story.exit(child, 1)
    story.exit(child, 1)
    assert len([s for s in story.spans if s.name == "python3"]) == 1
    assert story.core.tree.drops["second_exit"] == 1


def test_an_exit_of_a_process_never_seen_is_tolerated() -> None:
    story = Story()
    story.exit(ProcessKey(4000, 5), signal=9)
    story.exit(story.command("true"))
    assert story.span("task job").error == ""
    assert story.core.tree.drops["stub"] == 1


def test_lost_events_leave_a_record_and_mark_what_follows() -> None:
    story = Story()
    root = story.command("bash")
    story.core.missing.note_losses({("exec", "ring_full"): 24}, story.now)
    story.core.missing.note_losses({("exec", "ring_full"): 24}, story.now)
    story.exit(root, 1)
    lost = story.events("pipeline.observer.events_lost")
    assert [attributes(r)["pipeline.observer.events_lost"] for r in lost] == [24]
    assert attributes(story.events("process.exit")[0])["pipeline.observer.incomplete"] is True
    story.tick(120)
    story.exit(story.command("later"), 1)
    assert "pipeline.observer.incomplete" not in attributes(story.events("process.exit")[1])


def test_losses_among_processes_that_nobody_watches_leave_a_record_and_mark_no_work() -> None:
    story = Story()
    root = story.command("bash")
    story.core.missing.note_losses({("fork", "unwatched"): 7}, story.now)
    story.exit(root, 1)
    assert [
        attributes(r)["pipeline.observer.events_lost"]
        for r in story.events("pipeline.observer.events_lost")
    ] == [7]
    assert "pipeline.observer.incomplete" not in attributes(story.events("process.exit")[0])


def test_what_was_not_observed_of_a_task_is_in_its_report() -> None:
    story = Story()
    root = story.command("bash")
    execution = next(iter(story.core.executions.open.values()))
    began = execution.start_ns
    story.core.missing.note_blind(Blind("late_attach", began, began + 56 * MS, root), story.now)
    story.core.missing.note_blind(Blind("late_attach", began, began + 20 * MS, root), story.now)
    story.core.missing.note_blind(
        Blind("interrupted", began + 100 * MS, 0, why="the helper was killed"), story.now
    )
    (late, on) = [u.text for u in story.core.case(execution, story.now + SECOND).unseen]
    assert late == (
        "the first at most 0.056 s of system calls of 2 processes (the hooks were attached later)"
    )
    assert on == "system calls from 0.100 s on (the helper was killed)"
    story.core.missing.note_blind(
        Blind("interrupted", began + 100 * MS, began + 400 * MS, why="the helper was killed"),
        story.now,
    )
    case = story.core.case(execution, story.now + SECOND)
    assert (
        case.unseen[1].text == "system calls from 0.100 to 0.400 s (the helper was killed)"
        and case.interrupted
    )
    story.exit(story.spawn(root, "python3", "load.py"), 1)
    story.exit(root, 1)
    assert investigate(story.core.case(execution, story.now)).verdict == "incomplete"
    records = story.events("pipeline.observer.blind")
    assert [attributes(r)["pipeline.observer.blind.duration"] for r in records] == [0.0, 0.3]
    story.tick(1)
    later = story.command("later", name="later")
    (execution,) = [e for e in story.core.executions.open.values() if e.root.key == later]
    assert story.core.case(execution, story.now).unseen == ()


def test_a_process_whose_exit_was_lost_ends_without_an_outcome() -> None:
    story = Story()
    root = story.command("bash")
    story.core.unended.vanished([root], story.now)
    story.tick()
    facts = attributes(story.span("task job"))
    assert facts["pipeline.task.run.result"] == "unknown"
    assert facts["pipeline.observer.incomplete"] is True
    assert "process.exit.code" not in attributes(story.span("bash"))


def test_what_is_open_at_the_end_is_unfinished_not_failed() -> None:
    story = Story()
    story.spawn(INIT, "bash", environ=airflow())
    story.finish()
    task = story.span("task load")
    assert attributes(task)["pipeline.observer.incomplete"] is True
    assert task.error == ""
