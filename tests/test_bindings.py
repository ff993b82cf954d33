"""Whose work is it: bindings that nest, end, are released, contradict each other, or are forged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from receiver import semconv as sc
from receiver.attribution.containers import NOWHERE, ContainerIdentity, place_of
from receiver.attribution.frameworks import RECOGNISERS, Recognisers
from receiver.attribution.frameworks.base import Recogniser
from receiver.attribution.rules import Rule
from receiver.events import (
    Connection,
    ConnectionStage,
    FileChanged,
    FileOperation,
    OpenedFlag,
    ProcessKey,
)
from receiver.kernel.pods import container_names
from receiver.model import NOBODY, ContainerName, CoreOptions, Host
from receiver.observe.core import Core
from receiver.signals import Span
from receiver.work.worker import Worker
from tests.builders import HOST, MS, Story, airflow, attributes

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


def grade_of(span: Span) -> str:
    return str(attributes(span)[sc.PIPELINE_MAPPING_GRADE])


def of(story: Story, key: ProcessKey) -> list[tuple[str, str]]:
    """(type, task), innermost first."""
    process = story.core.tree.get(key)
    assert process is not None
    return (
        [(e.identity.type, e.identity.task) for e in process.execution.chain()]
        if process.execution
        else []
    )


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


EXECUTOR = "org.apache.spark.executor.CoarseGrainedExecutorBackend"


def spark_driver(story: Story, parent: ProcessKey = NOBODY) -> ProcessKey:
    driver = story.spawn(
        parent,
        "java",
        "-cp",
        "…",
        "org.apache.spark.deploy.SparkSubmit",
        "--name",
        "users",
        "job.py",
    )
    story.fact(
        Connection,
        driver,
        stage=ConnectionStage.LISTENING,
        family=2,
        local_port=4001,
        connection_id=story.now,
    )
    return driver


def spark_executor(story: Story, parent: ProcessKey, number: int = 0) -> ProcessKey:
    url = "spark://CoarseGrainedScheduler@10.0.0.1:4001"
    arguments = ("--driver-url", url, "--executor-id", str(number), "--app-id", "app-1")
    return story.spawn(parent, "java", EXECUTOR, *arguments)


def test_an_executor_finds_its_driver_by_the_port_it_was_given() -> None:
    story = Story()
    driver = spark_driver(story)
    worker = story.spawn(NOBODY, "java", "org.apache.spark.deploy.worker.Worker")
    executor = spark_executor(story, worker)
    daemon = story.spawn(executor, "python3", "-m", "pyspark.daemon", "pyspark.worker")
    assert of(story, story.fork(daemon)) == [("executor", "executor 0"), ("job", "users")]
    process = story.core.tree.get(driver)
    assert process and process.execution and process.execution.identity.run_id == "app-1"


def test_an_executor_that_its_own_people_end_has_not_failed() -> None:
    story = Story()
    driver = spark_driver(story)
    executor = spark_executor(story, driver)
    daemon = story.spawn(executor, "python3", "-m", "pyspark.daemon", "pyspark.worker")
    worker = story.fork(daemon)
    story.signal(driver, executor, 15, comm="java", handled=1)
    for key in (worker, daemon):
        story.exit(key, 1)
    story.exit(executor, 143)
    story.exit(driver)
    assert not story.findings and not [r for r in story.logs if r.event_name.startswith("process.")]
    assert attributes(story.span("executor 0"))[sc.PIPELINE_TASK_RUN_RESULT] == "success"
    assert not [s for s in story.spans if s.error]


def test_an_executor_that_a_stranger_ends_has() -> None:
    story = Story()
    driver = spark_driver(story)
    executor = spark_executor(story, driver)
    story.signal(ProcessKey(9, 9), executor, 15, comm="evictor", handled=1)
    story.exit(executor, 143)
    story.exit(driver)
    assert attributes(story.span("executor 0"))[sc.PIPELINE_TASK_RUN_RESULT] == "failure"
    assert len(story.events(sc.EVENT_PROCESS_KILLED)) == 1


def test_a_death_names_the_partition_that_its_executor_was_at() -> None:
    story = Story()
    executor = spark_executor(story, spark_driver(story))
    worker = story.fork(story.spawn(executor, "python3", "-m", "pyspark.daemon", "pyspark.worker"))
    story.reads(executor, "/lake/events/partition_date=2024-01-14/part-0.parquet")
    story.reads(executor, "/lake/events/partition_date=2024-01-15/part-0.parquet")
    story.oom(worker)
    (record,) = story.events(sc.EVENT_PROCESS_OOM_KILLED)
    assert attributes(record)[sc.PIPELINE_DATASET_PARTITION] == "partition_date=2024-01-15"
    assert "while it worked on partition_date=2024-01-15" in record.body


WORK = (
    "/scratch/work/ab/cdef0123456789abcdef0123456789"  # of Nextflow's documentation; not a real run
)


def test_nextflow_tasks_by_their_work_directory() -> None:
    story = Story()
    launcher = story.spawn(NOBODY, "java", "-jar", "nextflow.cli.Launcher", "run", "rnaseq.nf")
    wrapper = story.fork(launcher)
    story.exec(wrapper, "bash", ".command.run", parent=launcher, working_directory=WORK)
    script = story.fork(wrapper)
    story.exec(script, "bash", "-ue", ".command.sh", parent=wrapper, working_directory=WORK)
    assert of(story, script) == [("task", "ab/cdef01"), ("job", "nextflow run rnaseq.nf")]


def test_snakemake_jobs_by_the_outputs_that_are_marked_incomplete() -> None:
    story = Story()
    main = story.spawn(NOBODY, "python", "/venv/bin/snakemake", "--cores", "2")
    for marker in ("L2RhdGEvYS50eHQ=", "L2RhdGEvYi50eHQ="):  # /data/a.txt, /data/b.txt
        story.opens(main, f"/work/.snakemake/incomplete/{marker}", os.O_WRONLY | os.O_CREAT)
    second = story.spawn(main, "bash", "-c", "set -euo pipefail;  sort x > /data/b.txt")
    first = story.spawn(main, "bash", "-c", "set -euo pipefail;  sort x > /data/a.txt")
    assert of(story, first)[0] == ("task", "a.txt") and of(story, second)[0] == ("task", "b.txt")


def test_luigi_tasks_end_when_their_target_is_in_place() -> None:
    story = Story()
    main = story.spawn(NOBODY, "luigi", "--module", "tasks", "All", "--workers", "1")
    story.opens(main, "/data/out.csv-luigi-tmp-123", os.O_WRONLY | os.O_CREAT)
    assert of(story, main) == [("job", "All")]
    story.fact(
        FileChanged,
        main,
        operation=FileOperation.RENAME,
        path="/data/out.csv-luigi-tmp-123",
        new_path="/data/out.csv",
    )
    assert [s.name for s in story.spans] == ["task out.csv"]


def test_the_span_of_a_spark_process_names_the_partition_that_it_wrote_last() -> None:
    story = Story()
    main = "org.apache.spark.deploy.SparkSubmit"
    driver = story.spawn(NOBODY, "java", "-cp", "x", main, "--name", "daily", "job.py")
    for stage, part in ((2, 1), (3, 5)):
        attempt = f"attempt_202601010000_{stage:04}_m_{part:06}_9"
        story.writes(driver, f"/out/_temporary/0/_temporary/{attempt}/part-0.parquet")
    story.exit(driver)
    story.finish()
    own = next(s for s in story.spans if s.name == "java")
    assert attributes(own)[sc.PIPELINE_PROCESS_PART] == "stage 3, partition 5"


def test_only_dbts_own_target_directory_is_metadata() -> None:
    story = Story()
    main = story.spawn(NOBODY, "luigi", "--module", "tasks", "All")
    opened = story.opens(main, "/data/target/a-luigi-tmp-1", os.O_WRONLY | os.O_CREAT, thread=41)
    story.closes(main, opened, written=10)
    story.exit(main)
    story.finish()
    written = attributes(story.span("task a"))[sc.PIPELINE_TASK_OUTPUTS]
    assert written == ("/data/target/a-luigi-tmp-1",)


def test_make_is_followed_inside_of_other_work_only() -> None:
    story = Story()
    assert of(story, story.spawn(NOBODY, "make", "all")) == []
    cron = story.fork(NOBODY, comm="cron")
    line = story.fork(cron, comm="sh")
    story.exec(line, "sh", "-c", "TOKEN=hunter2x cd /app && make all", parent=cron)
    assert of(story, line)[0][0] == "job" and "hunter2x" not in of(story, line)[0][1]
    assert of(story, story.spawn(line, "make", "-C", "/app", "all"))[0] == ("job", "all")


class Broken(Recogniser):
    name = "broken"
    every_image = True

    def image(self, process: Worker) -> tuple[()]:
        raise RuntimeError("a bug")


def test_a_broken_recogniser_is_switched_off_and_the_others_go_on() -> None:
    story = Story()
    story.core.recognisers = story.core.bindings.recognisers = Recognisers((Broken(), *RECOGNISERS))
    assert of(story, story.spawn(NOBODY, "dbt", "run")) == [("job", "dbt run")]
    story.spawn(NOBODY, "dbt", "run")
    assert story.core.recognisers.broken == {"broken": 1}
    drops = next(m for m in story.core.metrics() if m.name == sc.METRIC_PIPELINE_OBSERVER_DROPS[0])
    assert ((sc.PIPELINE_OBSERVER_LOSS_REASON, "broken_recogniser_broken"),) in [
        p.attributes for p in drops.points
    ]


@pytest.mark.parametrize("argv", [(), ("",), ("-",)], ids=["none", "empty", "dash"])
def test_a_program_without_arguments_breaks_no_recogniser(argv: tuple[str, ...]) -> None:
    """execve(2) takes an empty list, and a recording of a command has no arguments of other
    processes."""
    story = Story()
    names = sorted({name for r in RECOGNISERS for name in r.programs})
    assert len(names) > 20
    for name in names:
        parent = story.fork(NOBODY)
        for key in (parent, story.fork(parent)):
            story.exec(key, "x", argv=argv, argc=len(argv), comm=name, executable=f"/bin/{name}")
            story.opens(key, f"/x/{name}/compute_logs/a=b", os.O_WRONLY | os.O_CREAT)
    assert not story.core.recognisers.broken


def with_rules(*rules: Rule) -> Story:
    story = Story()
    story.core = Core(HOST, None, rules)
    return story


def test_rules_of_the_user_come_first() -> None:
    rule = Rule(
        system="loader",
        pipeline="landing",
        task="load {0}",
        run="{LOADER_JOB}",
        environment="LOADER_JOB",
    )
    story = with_rules(
        rule,
        Rule(system="loader", pipeline="by name", executable="/usr/bin/load*"),
        Rule(system="loader", pipeline="by path", path="/landing/*"),
    )
    assert of(story, story.spawn(NOBODY, "python", environ=("LOADER_JOB=77",))) == [
        ("task", "load 77")
    ]
    assert of(story, story.spawn(NOBODY, "loader9")) == [("job", "loader9")]
    writer = story.spawn(NOBODY, "cp")
    story.opens(writer, "/landing/x.csv")
    assert of(story, writer) == []
    story.opens(writer, "/landing/x.csv", os.O_WRONLY)
    assert of(story, writer) == [("job", "cp")]


def steps_of_one_task(*ends: tuple[str, bool]) -> Story:
    """A script that nobody knows runs the commands of one task one after another:
    (its argument, whether it is OOM-killed)."""
    story = with_rules(
        Rule(
            system="loader",
            pipeline="landing",
            task="transform",
            run="{LOADER_JOB}",
            environment="LOADER_JOB",
        )
    )
    script = story.spawn(NOBODY, "bash", "nightly.sh")
    for date, killed in ends:
        step = story.spawn(script, "python", "transform.py", date, environ=("LOADER_JOB=77",))
        if killed:
            story.oom(step)
        story.exit(step, signal=9 if killed else 0, after_ms=400)
    story.tick(10)
    return story


def test_a_task_of_several_commands_fails_with_any_of_them() -> None:
    story = steps_of_one_task(("14", False), ("15", True), ("16", False))
    task = story.span("task transform")
    assert (
        attributes(task)[sc.PIPELINE_TASK_RUN_RESULT] == "failure"
        and attributes(task)[sc.ERROR_TYPE] == "oom_killed"
    )
    (opened,) = story.events(sc.EVENT_PIPELINE_INCIDENT_OPENED)
    assert attributes(opened)[sc.PIPELINE_INCIDENT_CAUSE] == "mem.cgroup_oom"


def test_a_command_that_is_repeated_with_success_was_a_retry() -> None:
    story = steps_of_one_task(("14", False), ("15", True), ("15", False))
    assert attributes(story.span("task transform"))[sc.PIPELINE_TASK_RUN_RESULT] == "success"


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        (Rule(system="s", pipeline="p"), "matches nothing"),
        (Rule(system="s", pipeline="p", environment="my-job"), "no name of a variable"),
        (Rule(system="s", pipeline="p", environment="DB_PASSWORD"), "a secret"),
        (Rule(system=" ", pipeline="p", argv="x"), "system must not be empty"),
        (Rule(system="s", pipeline="p", argv="x", task="{JOB}"), "is not what the rule matches"),
    ],
)
def test_rules_that_cannot_work_are_told(rule: Rule, problem: str) -> None:
    assert problem in rule.problem()


ID = "0123456789abcdef" * 4
POD = "5f8c1a2e-0b1d-4c3e-9a77-2b6f0e4d1c55"
SLICE = POD.replace("-", "_")  # as systemd wants it


@pytest.mark.parametrize(
    ("cgroup", "place"),
    [
        (f"/docker/{ID}", ContainerIdentity(container_id=ID, runtime="docker")),
        (f"/system.slice/docker-{ID}.scope", ContainerIdentity(container_id=ID, runtime="docker")),
        (
            f"/machine.slice/libpod-{ID}.scope/container",
            ContainerIdentity(container_id=ID, runtime="podman"),
        ),
        (
            f"/kubepods/burstable/pod{POD}/{ID}",
            ContainerIdentity(
                container_id=ID, runtime="", pod_uid=POD, pod_name="etl-0", namespace="prod"
            ),
        ),
        (
            (
                f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{SLICE}.slice/"
                f"cri-containerd-{ID}.scope"
            ),
            ContainerIdentity(
                container_id=ID,
                runtime="containerd",
                pod_uid=POD,
                pod_name="etl-0",
                namespace="prod",
            ),
        ),
        (
            f"/kubepods.slice/kubepods-pod{SLICE}.slice/crio-{ID}.scope",
            ContainerIdentity(
                container_id=ID, runtime="cri-o", pod_uid=POD, pod_name="etl-0", namespace="prod"
            ),
        ),
        ("/system.slice/airflow-scheduler.service", ContainerIdentity(unit="airflow-scheduler")),
        ("/user.slice/user-1000.slice/session-3.scope", NOWHERE),
        ("/", NOWHERE),
    ],
)
def test_containers_by_the_paths_that_runtimes_make(cgroup: str, place: ContainerIdentity) -> None:
    process = Worker(ProcessKey(1, 1), None, "x", 0)
    process.memory_cgroup = cgroup
    process.environ = ("POD_NAME=etl-0", "POD_NAMESPACE=prod")
    assert place_of(process) == place


def test_a_task_in_a_pod_has_the_pod_as_its_resource() -> None:
    story = Story()
    key = story.fork(NOBODY)
    story.exec(
        key,
        "python",
        environ=(*airflow("load"), "POD_NAME=etl-0", "POD_NAMESPACE=prod"),
        memory_cgroup=f"/kubepods/burstable/pod{POD}/{ID}",
    )
    story.exit(key)
    story.tick(10)
    found = dict(story.span("task load").resource.items)
    assert (
        found[sc.K8S_POD_UID],
        found[sc.K8S_POD_NAME],
        found[sc.K8S_NAMESPACE_NAME],
        found[sc.CONTAINER_ID],
    ) == (
        POD,
        "etl-0",
        "prod",
        ID,
    )


def test_the_kubelets_links_name_what_no_path_names(tmp_path: Path) -> None:
    for name in (
        f"etl-0_prod_load-{ID}.log",
        "not-one-of-them",
        f"UPPER_prod_x-{ID}.log",
        f"a_b-{ID}.log",
        f"p_n_c-{ID[:-1]}.log",
    ):
        (tmp_path / name).symlink_to("/nowhere")
    names = container_names(str(tmp_path))
    assert names == (ContainerName(ID, "etl-0", "prod", "load"),)
    assert container_names(str(tmp_path / "absent")) == ()
    story = Story()
    for task, told in (("before", ()), ("after", names)):
        story.core.resources.name_containers(told)
        key = story.fork(NOBODY)
        story.exec(
            key, "python", environ=airflow(task), memory_cgroup=f"/kubepods/burstable/pod{POD}/{ID}"
        )
        story.exit(key)
        story.tick(10)
    found = [dict(story.span(f"task {task}").resource.items) for task in ("before", "after")]
    wanted = (sc.CONTAINER_ID, sc.K8S_POD_NAME, sc.K8S_NAMESPACE_NAME, sc.K8S_CONTAINER_NAME)
    assert [[f.get(name) for name in wanted] for f in found] == [
        [ID, None, None, None],
        [ID, "etl-0", "prod", "load"],
    ]


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
