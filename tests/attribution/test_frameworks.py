"""Work of Spark, Nextflow, Snakemake, Luigi, dbt and make by what the kernel sees of it."""

from __future__ import annotations

import os

from receiver import semconv as sc
from receiver.events import (
    Connection,
    ConnectionStage,
    FileChanged,
    FileOperation,
    ProcessKey,
)
from receiver.model import NOBODY
from tests.attribution.airflow_logs import of
from tests.builders import Story, attributes

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
