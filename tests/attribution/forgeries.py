"""Forgeries of a run of Airflow, and the real run beside them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from receiver import semconv as sc
from receiver.events import ImageFlag, OpenedFlag, ProcessKey
from receiver.signals import LogRecord, Span
from tests.builders import Story, airflow, attributes

MALLORY, ALICE = 1000, 1001
OWN = int(OpenedFlag.USER_OWNS | OpenedFlag.IN_FOLDER_OF_USER)
APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT
LOG = "/dag_id=payroll/run_id=r1/task_id=pay/attempt=1.log"
PYTHON: dict[str, Any] = {
    "executable": "/usr/bin/python3.11",
    "image_flags": int(ImageFlag.ROOT_OWNS),
}


def real(
    story: Story, uid: int = ALICE, *, code: int = 0, between: Callable[[], object] = lambda: None
) -> Span:
    """An attempt of Alice's Airflow, from its start to its end."""
    worker = story.fork(story.scheduler(uid=uid), uid=uid)
    story.title(worker, "airflow worker -- LocalExecutor: 0199-aa")
    story.opens(worker, "/srv/airflow/logs" + LOG, APPEND, opened_flags=OWN)
    task = story.fork(worker, uid=uid)
    trace = next(e for e in story.core.executions.open.values() if e.root.key == task).trace_id
    between()
    story.exit(task, code)
    story.tick(70)
    (span,) = [s for s in story.spans if s.name == "task pay" and s.trace_id == trace]
    return span


def grade(record: Span | LogRecord) -> object:
    return attributes(record)[sc.PIPELINE_MAPPING_GRADE]


def shell(story: Story, uid: int = MALLORY) -> ProcessKey:
    """What sshd starts for a user who logs in."""
    return story.service("bash", uid=uid, before="/usr/sbin/sshd", executable="/usr/bin/bash")


def dies(story: Story, supervisor: ProcessKey, log: str = "/home/m" + LOG, **flags: Any) -> None:
    """It opens the attempt's log and forks a child that kills itself."""
    story.opens(supervisor, log, APPEND, **({"opened_flags": OWN} | flags))
    child = story.fork(supervisor, uid=MALLORY)
    story.signal(child, child, 9)
    story.exit(child, signal=9)
    story.exit(supervisor)


def script_named_airflow(story: Story) -> None:
    dies(
        story,
        story.spawn(shell(story), "python3", "/home/m/airflow", "scheduler", uid=MALLORY, **PYTHON),
    )


def an_environment(story: Story) -> None:
    child = story.spawn(
        shell(story), "python3", uid=MALLORY, environ=airflow("pay", dag="payroll"), **PYTHON
    )
    story.oom(child)
    story.exit(child, signal=9)


def forged(story: Story, span: Span) -> list[Span]:
    return [
        s
        for s in story.spans
        if attributes(s).get(sc.PIPELINE_RUN_ID) == "r1" and s.trace_id != span.trace_id
    ]


def numbers(story: Story, result: str) -> int:
    """How many attempts the metrics count with that result."""
    return sum(
        getattr(p.value, "count", 0)
        for m in story.core.metrics()
        if m.name == "pipeline.task.duration"
        for p in m.points
        if dict(p.attributes)[sc.PIPELINE_TASK_RUN_RESULT] == result
    )
