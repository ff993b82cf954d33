"""How sure a binding is: forged, contradicted, or shared by two users."""

from __future__ import annotations

from receiver import semconv as sc
from receiver.events import (
    ProcessKey,
)
from receiver.signals import Span
from tests.attribution.airflow_logs import begin, supervisor
from tests.builders import Story, airflow, attributes


def grade_of(span: Span) -> str:
    return str(attributes(span)[sc.PIPELINE_MAPPING_GRADE])


def test_a_forged_environment_of_another_user_is_never_certain_and_touches_nothing() -> None:
    story = Story()
    task = begin(story, supervisor(story))
    stranger = story.fork(ProcessKey(77, 7))
    story.exec(stranger, "python", "evil.py", environ=airflow("load"), uid=4242)
    story.oom(stranger)
    story.exit(stranger, signal=9)
    story.exit(task)
    story.tick(10)
    real, claimed = sorted(
        (s for s in story.spans if s.name == "task load"), key=grade_of, reverse=True
    )
    assert attributes(real)[
        sc.PIPELINE_TASK_RUN_RESULT
    ] == "success" and sc.PROCESS_OOM_KILLED not in attributes(real)
    assert (
        attributes(claimed)[sc.PIPELINE_MAPPING_GRADE] == "ambiguous"
        and claimed.trace_id != real.trace_id
    )
    forged = attributes(next(s for s in story.spans if s.name == "python"))
    assert (
        forged[sc.PIPELINE_MAPPING_GRADE] == "ambiguous"
        and forged[sc.PIPELINE_MAPPING_SOURCE] == "ambiguous"
    )
    record = attributes(story.events(sc.EVENT_PROCESS_OOM_KILLED)[0])
    assert record[sc.PIPELINE_MAPPING_GRADE] == "ambiguous"


def test_an_environment_alone_is_probable_at_most() -> None:
    story = Story()
    story.task("load")
    (execution,) = story.core.executions.open.values()
    assert execution.identity.grade == "probable"


def test_two_users_with_the_same_claim_do_not_share_an_attempt() -> None:
    story = Story()
    first, second = story.fork(ProcessKey(70, 1)), story.fork(ProcessKey(71, 1))
    story.exec(first, "python", "a.py", environ=airflow("load"), uid=1000)
    story.exec(second, "python", "b.py", environ=airflow("load"), uid=1001)
    story.exit(second, 1)
    story.exit(first)
    story.tick(10)
    found = {
        (s.trace_id, attributes(s)[sc.PIPELINE_TASK_RUN_RESULT])
        for s in story.spans
        if s.name == "task load"
    }
    assert len({trace for trace, _ in found}) == 2 and {result for _, result in found} == {
        "success",
        "failure",
    }


def test_an_environment_that_contradicts_the_ancestors_is_ambiguous() -> None:
    story = Story()
    task = begin(story, supervisor(story), task="outer")
    child = story.spawn(task, "python", environ=airflow("inner"))
    process = story.core.tree.get(child)
    assert process and process.execution
    assert [(e.identity.task, e.identity.grade) for e in process.execution.chain()] == [
        ("inner", "ambiguous"),
        ("outer", "certain"),
    ]


def test_status_0_of_a_supervisor_that_always_says_0_is_no_success() -> None:
    story = Story()
    worker = supervisor(story)
    for name, codes in (("bad", (7,)), ("tried_again", (7, 0)), ("fine", (0,))):
        task = begin(story, worker, task=name)
        for code in codes:
            story.exit(story.spawn(task, "bash"), code)
        story.exit(task)
    story.tick(10)
    found = {
        s.name: (
            attributes(s)[sc.PIPELINE_TASK_RUN_RESULT],
            attributes(s)[sc.PIPELINE_TASK_RUN_REPORTED_RESULT],
        )
        for s in story.spans
        if s.name.startswith("task ")
    }
    assert found == {
        "task bad": ("failure", "unknown"),
        "task tried_again": ("success", "unknown"),
        "task fine": ("success", "unknown"),
    }
    assert not story.events(sc.EVENT_PIPELINE_TASK_RESULT_MISMATCH)
