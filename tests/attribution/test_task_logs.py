"""A task is the next child of the process that opened its log."""

from __future__ import annotations

from receiver.events import (
    OpenedFlag,
)
from tests.attribution.airflow_logs import APPEND, begin, log_path, of, supervisor
from tests.builders import Story, airflow


def test_a_task_is_the_next_fork_of_who_opened_its_log() -> None:
    story = Story()
    worker = supervisor(story)
    task = begin(story, worker, task="load.one", attempt=3, index=2)
    other = story.fork(worker)
    child = story.spawn(task, "sort")
    (execution,) = story.core.executions.open.values()
    assert (execution.identity.key, execution.identity.grade) == (
        ("airflow", "etl", "r1", "load.one", 3, 2),
        "certain",
    )
    assert of(story, task) == of(story, child) == [("task", "load.one")]
    assert of(story, worker) == of(story, other) == []


def test_what_a_child_was_given_agrees_with_the_log_and_no_map_index_is_no_contradiction() -> None:
    story = Story()
    task = begin(story, supervisor(story), task="load", index=1)
    child = story.spawn(task, "bash", environ=airflow("load"))
    assert of(story, child) == [("task", "load")]
    assert len(story.core.executions.open) == 1


def test_reading_a_log_and_a_triggerers_log_name_nobody() -> None:
    story = Story()
    worker = supervisor(story)
    story.opens(worker, log_path())
    story.opens(worker, log_path() + ".trigger.7.log", APPEND)
    story.fork(worker)
    assert not story.core.executions.open


def test_an_idle_worker_expects_nothing() -> None:
    story = Story()
    worker = supervisor(story)
    story.opens(worker, log_path(), APPEND)
    story.title(worker, "airflow worker -- LocalExecutor: <idle>")
    story.fork(worker)
    assert not story.core.executions.open


def test_a_log_that_was_open_before_we_came_names_the_child_that_is_there() -> None:
    story = Story()
    worker = supervisor(story)
    task = story.fork(worker)
    story.opens(worker, log_path(), APPEND, opened_flags=int(OpenedFlag.INHERITED))
    assert of(story, task) == [("task", "load")]
