"""The log files of Airflow's tasks, and what tests of attribution share."""

from __future__ import annotations

import os

from receiver.events import (
    OpenedFlag,
    ProcessKey,
)
from tests.builders import Story

LOG = "/logs/dag_id={}/run_id={}/task_id={}{}/attempt={}.log"
APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT


def log_path(
    task: str = "load", *, dag: str = "etl", run: str = "r1", attempt: int = 1, index: int = -1
) -> str:
    return LOG.format(dag, run, task, f"/map_index={index}" if index >= 0 else "", attempt)


def supervisor(story: Story) -> ProcessKey:
    """A worker of Airflow's LocalExecutor: a fork of the scheduler that says so in its title."""
    worker = story.fork(story.scheduler())
    story.title(worker, "airflow worker -- LocalExecutor: 0199-aa")
    return worker


def begin(story: Story, worker: ProcessKey, **names: object) -> ProcessKey:
    """The supervisor opens the attempt's log and forks the task."""
    path = log_path(**names)  # type: ignore[arg-type]
    story.opens(worker, path, APPEND, opened_flags=int(OpenedFlag.IN_FOLDER_OF_USER))
    return story.fork(worker)


def of(story: Story, key: ProcessKey) -> list[tuple[str, str]]:
    """(type, task), innermost first."""
    process = story.core.tree.get(key)
    assert process is not None
    return (
        [(e.identity.type, e.identity.task) for e in process.execution.chain()]
        if process.execution
        else []
    )
