"""Bindings that nest, end, are released, and contradict each other."""

from __future__ import annotations

import os

import pytest

from receiver import semconv as sc
from receiver.events import (
    ProcessKey,
)
from receiver.model import NOBODY, CoreOptions, Host
from receiver.observe.core import Core
from receiver.signals import Span
from tests.attribution.airflow_logs import begin, of, supervisor
from tests.builders import MS, Story, airflow, attributes


def test_work_nests_and_shares_the_trace() -> None:
    story = Story()
    task = begin(story, supervisor(story), task="transform")
    bash = story.spawn(task, "bash")
    dbt = story.spawn(bash, "python", "/venv/bin/dbt", "run")
    story.opens(dbt, "/work/target/compiled/shop/models/users.sql", os.O_WRONLY, thread=41)
    story.opens(dbt, "/work/target/run/shop/models/users.sql", os.O_WRONLY, thread=41)
    story.writes(dbt, "/data/users.csv")
    story.opens(dbt, "/work/target/run/shop/models/schema.yml/not_null.sql", os.O_WRONLY, thread=42)
    (process,) = [p for p in story.core.tree.processes() if p.key == dbt]
    assert [[e.identity.task for e in s.chain()] for s in process.steps.values()] == [
        ["users", "dbt run", "transform"],
        ["not_null", "dbt run", "transform"],
    ]
    story.opens(dbt, "/work/target/run_results.json", os.O_WRONLY)
    for key in (dbt, bash, task):
        story.exit(key)
    story.tick(70)
    spans = {s.name: s for s in story.spans}
    run, outer, job = spans["run etl"], spans["task transform"], spans["job dbt run"]
    for inner, above in (
        (outer, run),
        (job, outer),
        (spans["model users"], job),
        (spans["check not_null"], job),
    ):
        assert (inner.trace_id, inner.parent_id) == (run.trace_id, above.span_id)
    assert attributes(job)[sc.PIPELINE_NAME] == "shop"
    assert len({s.span_id for s in story.spans}) == len(story.spans)


@pytest.mark.parametrize("ends_it", ["the next node", "the results", "the exit", "a kill"])
def test_a_node_whose_end_was_not_seen_has_no_duration(ends_it: str) -> None:
    """dbt leaves no trace at the end of a node: a test of 0.1 s stood there with 36 s."""
    story = Story()
    dbt = story.spawn(NOBODY, "dbt", "run")
    path = "/work/target/run/shop/models/schema.yml/not_null.sql"
    story.opens(dbt, path, os.O_WRONLY, thread=41)
    story.step(36_000)
    if ends_it == "the next node":
        story.opens(dbt, "/work/target/run/shop/models/next.sql", os.O_WRONLY, thread=41)
    elif ends_it == "the results":
        story.opens(dbt, "/work/target/run_results.json", os.O_WRONLY)
    if ends_it == "a kill":
        story.signal(ProcessKey(5, 5), dbt, 9)
    story.exit(dbt, signal=9 if ends_it == "a kill" else 0)
    story.tick(70)
    (span,) = [s for s in story.spans if s.name == "check not_null"]
    assert (sc.PIPELINE_OBSERVER_END_UNSEEN in attributes(span)) == (ends_it != "a kill")
    durations = [
        dict(point.attributes).get(sc.PIPELINE_TASK_NAME)
        for metric in story.core.metrics()
        if metric.name == sc.METRIC_PIPELINE_TASK_DURATION[0]
        for point in metric.points
    ]
    assert ("not_null" in durations) == (ends_it == "a kill")


def test_of_several_threads_each_may_have_completed_its_step_before_the_kill() -> None:
    """A dbt test of 0.4 s stood there as a failure of 123 s: it was the last that had begun."""
    story = Story()
    dbt = story.spawn(NOBODY, "dbt", "run")
    for thread, model in ((41, "first"), (42, "second")):
        story.opens(dbt, f"/work/target/run/shop/models/{model}.sql", os.O_WRONLY, thread=thread)
    story.opens(dbt, "/work/target/run/shop/models/third.sql", os.O_WRONLY, thread=41)
    story.signal(ProcessKey(5, 5), dbt, 15)
    story.exit(dbt, signal=15)
    results = {
        s.name: attributes(s)[sc.PIPELINE_TASK_RUN_RESULT]
        for s in story.spans
        if s.name.startswith("model")
    }
    assert results == {
        "model first": "success",
        "model second": "unknown",
        "model third": "unknown",
    }


def test_the_only_step_of_a_process_is_lost_when_it_is_killed() -> None:
    story = Story()
    dbt = story.spawn(NOBODY, "dbt", "run")
    for model in ("first", "second"):
        story.opens(dbt, f"/work/target/run/shop/models/{model}.sql", os.O_WRONLY, thread=41)
    story.signal(ProcessKey(5, 5), dbt, 15)
    story.exit(dbt, signal=15)
    results = {
        s.name: attributes(s)[sc.PIPELINE_TASK_RUN_RESULT]
        for s in story.spans
        if s.name.startswith("model")
    }
    assert results == {"model first": "success", "model second": "failure"}


def test_every_way_to_have_children_keeps_the_binding() -> None:
    story = Story()
    task = begin(story, supervisor(story))
    twice = story.fork(story.fork(task))  # a double fork: the one between exits
    story.exec(twice, "setsid", "python")
    story.exec(twice, "python", "worker.py")  # a chain of images in one process
    assert of(story, twice) == of(story, story.fork(twice)) == [("task", "load")]


def test_a_daemon_that_outlives_its_task_is_released() -> None:
    story = Story(CoreOptions(task_grace_seconds=2))
    task = begin(story, supervisor(story))
    daemon = story.spawn(story.fork(task), "postgres", environ=airflow("load"))
    story.exit(task)
    story.tick(1)
    assert of(story, daemon) == [("task", "load")]  # it may still be on its way out
    ended = story.now
    story.tick(3)
    assert of(story, daemon) == []
    assert story.span("task load").end_ns <= ended + story.core.resources.wall_offset_ns - 900 * MS
    child = story.spawn(daemon, "postgres", environ=airflow("load"))
    assert of(story, child) == []
    assert story.core.members.drops["released"] and story.core.bindings.drops["released"]


def test_an_attempt_that_comes_back_is_a_second_span_linked_to_the_first() -> None:
    story = Story()
    worker = supervisor(story)
    story.exit(begin(story, worker, task="wait"))
    story.exit(begin(story, worker, task="wait"))
    story.tick(10)
    first, second = (s for s in story.spans if s.name == "task wait")
    assert first.trace_id == second.trace_id and first.span_id != second.span_id
    (link,) = second.links
    assert (
        link.span_id == first.span_id and dict(link.attributes)[sc.PIPELINE_LINK_TYPE] == "resumes"
    )


def test_ten_thousand_names_stay_two_thousand_series(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.work.shares.BURST", 20_000)
    story = Story(CoreOptions(task_grace_seconds=0))
    for number in range(10_000):
        story.exit(story.spawn(NOBODY, "true", environ=airflow(f"task_{number}")), after_ms=1)
        if number % 1000 == 0:
            story.tick(1)
    story.tick(1)
    for metric in story.core.metrics():
        if metric.name.startswith("pipeline.task"):
            names = {dict(p.attributes).get(sc.PIPELINE_TASK_NAME) for p in metric.points}
            assert len(names) <= 2001
    tasks = {s.name for s in story.spans if isinstance(s, Span) and s.name.startswith("task ")}
    assert len(tasks) == 10_000  # spans keep their names


def test_an_orchestrator_is_followed_for_what_it_opens_and_its_own_troubles_are_nobodys() -> None:
    story = Story()
    worker = supervisor(story)
    assert story.core.bindings.need_calls
    assert story.core.members.to_watch()
    story.signal(ProcessKey(9, 9), worker, 9)
    story.exit(worker, signal=9)
    assert not story.events(sc.EVENT_PROCESS_KILLED)


def test_a_snakemake_job_that_starts_before_its_marker_is_written_is_named_by_it() -> None:
    story = Story()
    main = story.spawn(NOBODY, "python", "/venv/bin/snakemake", "--cores", "2")
    job = story.spawn(main, "bash", "-c", "set -euo pipefail;  sort x > /data/a.txt")
    assert of(story, job)[0] == ("job", "snakemake")
    story.opens(main, "/work/.snakemake/incomplete/L2RhdGEvYS50eHQ=", os.O_WRONLY | os.O_CREAT)
    assert of(story, job)[0] == ("task", "a.txt")


def test_who_told_a_server_to_go_is_meant_and_not_the_signal_that_it_then_sent_itself() -> None:
    story = Story()
    server = story.task("serve")
    story.signal(ProcessKey(9, 9), server, 15, comm="evictor", handled=1)
    story.signal(server, server, 15, code=-6)
    story.exit(server, signal=15)
    assert attributes(story.events(sc.EVENT_PROCESS_KILLED)[0])[sc.PROCESS_SIGNAL_SENDER_PID] == 9


def test_processes_of_one_task_on_two_hosts_join_in_one_trace_without_a_word_between_them() -> None:
    """The second host has no orchestrator: only what the task's processes were given."""
    first, second = Story(), Story()
    second.core = Core(
        Host("00000000-0000-4000-8000-000000000002", "otherhost", "5e55105e5e55"),
        CoreOptions(orchestrator="elsewhere"),
    )
    task = begin(first, supervisor(first))
    local = first.spawn(task, "spark-submit")
    remote = second.task("load")
    remote_child = second.spawn(remote, "sort")
    for story, keys in ((first, (local, task)), (second, (remote_child, remote))):
        for key in keys:
            story.exit(key)
        story.tick(70)
    spans = [*first.spans, *second.spans]
    assert len({s.trace_id for s in spans}) == 1
    ids = [s.span_id for s in spans]
    assert len(ids) == len(set(ids))  # nothing is sent twice
    by_id = {s.span_id: s for s in spans}
    assert all(not s.parent_id or s.parent_id in by_id for s in spans)
    (above,) = {by_id[s.parent_id].name for s in second.spans if s.name == "load"}
    assert above == "task load"
    assert sum(s.name == "run etl" for s in spans) == sum(s.name == "task load" for s in spans) == 1


def test_a_command_is_told_alone() -> None:
    """`kwitness run` beside somebody else's pipelines: they are not its business."""
    story = Story(CoreOptions(only_commands=True))
    worker = supervisor(story)
    begin(story, worker)
    story.spawn(NOBODY, "dbt", "run")
    assert not story.core.executions.open and not story.core.bindings.followed
    own = story.command("bash")
    assert of(story, story.spawn(own, "dbt", "run")) == [("job", "dbt run"), ("command", "job")]
