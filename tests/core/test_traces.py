"""Traces and attempts: whose run it is, on which trace, with which links."""

from __future__ import annotations

import pytest

from tests.builders import Story, airflow, attributes
from tests.core.host import INIT


def test_airflow_is_known_by_its_environment_at_any_depth() -> None:
    story = Story()
    bash = story.spawn(INIT, "bash", environ=airflow("load", MAP_INDEX="3"))
    fork = story.fork(bash)
    child = story.spawn(fork, "python3")
    story.exit(child, 1)
    facts = attributes(story.span("python3"))
    assert (facts["pipeline.system.name"], facts["pipeline.name"], facts["pipeline.task.name"]) == (
        "airflow",
        "etl",
        "load",
    )
    assert (facts["pipeline.task.map_index"], facts["pipeline.mapping.source"]) == (3, "env")


def test_retries_are_attempts_of_one_run_with_a_link() -> None:
    story = Story()
    for attempt in (1, 2):
        key = story.spawn(INIT, "bash", environ=airflow(attempt=attempt))
        story.exit(key, 1 if attempt == 1 else 0)
        story.tick(6)
    story.tick(61)
    first, second = (s for s in story.spans if s.name == "task load")
    assert first.trace_id == second.trace_id
    assert first.span_id != second.span_id
    assert second.links[0].span_id == first.span_id
    assert dict(second.links[0].attributes) == {"pipeline.link.type": "retry_of"}
    assert attributes(story.span("run etl"))["pipeline.run.result"] == "success"


def test_two_hosts_give_the_same_trace_and_task_ids() -> None:
    spans = []
    for _ in range(2):
        story = Story()
        story.exit(story.spawn(INIT, "bash", environ=airflow()))
        story.tick(6)
        spans.append(story.span("task load"))
    assert (spans[0].trace_id, spans[0].span_id) == (spans[1].trace_id, spans[1].span_id)


def test_traceparent_in_the_environment_joins_the_applications_trace() -> None:
    story = Story()
    context = "TRACEPARENT=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    bash = story.spawn(INIT, "bash", environ=(*airflow(), context, "TRACESTATE=a=b"))
    child = story.spawn(bash, "python3")
    story.exit(child)
    story.exit(bash)
    story.tick(6)
    task, python = story.span("task load"), story.span("python3")
    assert task.trace_id == python.trace_id == bytes.fromhex("0af7651916cd43dd8448eb211c80319c")
    assert (task.parent_id, task.remote_parent, task.trace_state) == (
        bytes.fromhex("b7ad6b7169203331"),
        True,
        "a=b",
    )
    story.tick(61)
    assert not [s for s in story.spans if s.name.startswith("run ")]


def test_a_joined_task_leaves_the_rest_of_its_run_alone() -> None:
    story = Story()
    plain = story.spawn(INIT, "bash", environ=airflow("plain"))
    joined = story.spawn(
        INIT,
        "bash",
        environ=(*airflow("joined"), "TRACEPARENT=00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"),
    )
    for key in (joined, plain):
        story.exit(key)
    story.tick(6)
    story.tick(61)
    assert story.span("task joined").trace_id == b"\xab" * 16
    assert story.span("task plain").trace_id == story.span("run etl").trace_id != b"\xab" * 16
    ends = {
        attributes(e)["pipeline.task.name"]: e.trace_id for e in story.events("pipeline.task.end")
    }
    assert ends == {"joined": b"\xab" * 16, "plain": story.span("run etl").trace_id}


def test_a_childs_own_traceparent_wins_for_the_child() -> None:
    story = Story()
    bash = story.spawn(INIT, "bash", environ=airflow())
    child = story.spawn(
        bash,
        "python3",
        environ=(*airflow(), "TRACEPARENT=00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"),
    )
    story.exit(child)
    span = story.span("python3")
    assert (span.trace_id, span.parent_id, span.remote_parent) == (b"\xab" * 16, b"\xcd" * 8, True)


def test_an_unsampled_traceparent_is_a_link_only() -> None:
    story = Story()
    bash = story.spawn(
        INIT, "bash", environ=(*airflow(), "TRACEPARENT=00-" + "ab" * 16 + "-" + "cd" * 8 + "-00")
    )
    story.exit(bash)
    story.tick(6)
    task = story.span("task load")
    assert task.trace_id != b"\xab" * 16
    assert task.links[0].trace_id == b"\xab" * 16


@pytest.mark.parametrize(
    "value",
    [
        "",
        "junk",
        "ff-" + "a" * 32 + "-" + "b" * 16 + "-01",
        "00-" + "0" * 32 + "-" + "b" * 16 + "-01",
    ],
)
def test_a_broken_traceparent_is_ignored(value: str) -> None:
    story = Story()
    bash = story.spawn(INIT, "bash", environ=(*airflow(), f"TRACEPARENT={value}"))
    story.exit(bash)
    story.tick(6)
    assert not story.span("task load").remote_parent
