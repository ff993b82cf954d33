"""Claims of every framework by a user without the right to them."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from receiver import semconv as sc
from receiver.attribution.claims import Bind, Claims
from receiver.attribution.frameworks import RECOGNISERS, Recognisers
from receiver.attribution.frameworks.base import Recogniser
from receiver.attribution.rules import Rule, Rules
from receiver.events import Connection, ConnectionStage, ProcessKey
from receiver.model import CERTAIN, NOBODY, Identity
from receiver.observe.core import Core
from receiver.work.worker import Worker
from tests.attribution.forgeries import ALICE, APPEND, LOG, MALLORY, OWN, shell
from tests.builders import HOST, Story, airflow, attributes


class Boaster(Recogniser):
    """A recogniser that is sure of all that it sees."""

    name = "boaster"
    every_image = True

    def image(self, process: Worker) -> Claims:
        return (
            Bind(
                Identity(
                    "boaster",
                    "p",
                    "r",
                    "t",
                    source="argv",
                    confidence=CERTAIN,
                    evidence="a name",
                    portable=True,
                )
            ),
        )


def test_no_recogniser_gets_around_the_gate() -> None:
    story = Story()
    story.core.recognisers = story.core.bindings.recognisers = Recognisers((Boaster(),))
    key = story.spawn(shell(story), "x", uid=MALLORY)
    process = story.core.tree.get(key)
    assert process is not None and process.execution is not None
    assert (
        process.execution.identity.grade == "probable"
        and "not proven" in process.execution.identity.evidence
    )


# One command line, environment or file per framework that names a run which is not its own
# process's: the ones that can collide. The others (cron, dbt, luigi, make, papermill, snakemake,
# great_expectations) number a run by their own process.
def prefect(story: Story, uid: int) -> ProcessKey:
    environ = ("PREFECT__FLOW_RUN_ID=f1", "PREFECT__FLOW_NAME=payroll")
    return story.spawn(NOBODY, "python3", "-m", "prefect.engine", uid=uid, environ=environ)


def dagster(story: Story, uid: int) -> ProcessKey:
    key = story.spawn(
        NOBODY,
        "python3",
        "-c",
        "from multiprocessing.spawn import spawn_main",
        "--multiprocessing-fork",
        uid=uid,
    )
    story.opens(key, f"/home/{uid}/history/runs/0f0f0f0f-0000-4000-8000-000000000001.db", os.O_RDWR)
    return key


def nextflow(story: Story, uid: int) -> ProcessKey:
    return story.spawn(
        NOBODY, "bash", "/scratch/work/ab/cdef0123456789abcdef0123456789/.command.run", uid=uid
    )


def spark(story: Story, uid: int) -> ProcessKey:
    arguments = (
        "--driver-url",
        "spark://x@10.0.0.1:4001",
        "--executor-id",
        "0",
        "--app-id",
        "app-1",
    )
    return story.spawn(
        NOBODY,
        "java",
        "org.apache.spark.executor.CoarseGrainedExecutorBackend",
        *arguments,
        uid=uid,
    )


def rule(story: Story, uid: int) -> ProcessKey:
    return story.spawn(NOBODY, "loader", uid=uid, environ=("LOADER_JOB=77",))


def airflow_by_environment(story: Story, uid: int) -> ProcessKey:
    return story.spawn(NOBODY, "python3", uid=uid, environ=airflow("pay", dag="payroll"))


def own_process(*argv: str) -> Callable[[Story, int], ProcessKey]:
    return lambda story, uid: story.spawn(NOBODY, *argv, uid=uid)


def cron(story: Story, uid: int) -> ProcessKey:
    daemon = story.fork(NOBODY, uid=0)
    story.exec(daemon, "cron", uid=0, executable="/usr/sbin/cron")
    return story.spawn(daemon, "sh", "-c", "pay.sh", uid=uid)


def great_expectations(story: Story, uid: int) -> ProcessKey:
    key = story.spawn(NOBODY, "python3", "check.py", uid=uid)
    story.opens(key, "/venv/lib/python3.11/site-packages/great_expectations/__init__.py")
    story.opens(key, "/data/pay.csv")
    return key


def celery(story: Story, uid: int) -> ProcessKey:
    worker = story.spawn(
        NOBODY, "python3", "/venv/bin/celery", "-A", "airflow.providers.celery", "worker", uid=uid
    )
    story.opens(worker, f"/home/{uid}" + LOG, APPEND, opened_flags=OWN)
    return story.fork(worker, uid=uid)


def make(story: Story, uid: int) -> ProcessKey:
    return story.spawn(airflow_by_environment(story, uid), "make", "pay", uid=uid)


CLAIMS: dict[str, Callable[[Story, int], ProcessKey]] = {
    "airflow": airflow_by_environment,
    "prefect": prefect,
    "dagster": dagster,
    "nextflow": nextflow,
    "spark": spark,
    "rules": rule,
    "celery": celery,
    "cron": cron,
    "great_expectations": great_expectations,
    "make": make,
    "dbt": own_process("dbt", "run"),
    "luigi": own_process("luigi", "--module", "m", "Pay"),
    "snakemake": own_process("snakemake", "--cores", "1"),
    "papermill": own_process("papermill", "pay.ipynb", "out.ipynb"),
}


def with_rule() -> Story:
    story = Story()
    story.core = Core(
        HOST,
        rules=(
            Rule(
                system="loader",
                pipeline="landing",
                task="pay",
                run="{LOADER_JOB}",
                environment="LOADER_JOB",
            ),
        ),
    )
    return story


def test_every_framework_has_a_forgery() -> None:
    assert set(CLAIMS) == {r.name for r in (Rules(()), *RECOGNISERS)}


@pytest.mark.parametrize("name", CLAIMS)
@pytest.mark.parametrize("first", [MALLORY, ALICE])
def test_two_users_with_equal_names_share_no_trace_no_span_and_no_result(
    name: str, first: int
) -> None:
    story = with_rule()
    processes = {}
    for uid in (first, MALLORY + ALICE - first):
        processes[uid] = CLAIMS[name](story, uid)
    found = {uid: story.core.tree.get(key) for uid, key in processes.items()}
    work = {
        uid: list(p.execution.chain())
        for uid, p in found.items()
        if p is not None and p.execution is not None
    }
    assert set(work) == {ALICE, MALLORY}
    assert not {e.trace_id for e in work[ALICE]} & {e.trace_id for e in work[MALLORY]}
    assert not {e.span_id for e in work[ALICE]} & {e.span_id for e in work[MALLORY]}
    assert not any(e.identity.confidence >= CERTAIN for chain in work.values() for e in chain)
    assert {e.identity.owner for e in work[ALICE]} == {ALICE}
    story.exit(processes[MALLORY], signal=9)
    story.exit(processes[ALICE])
    story.tick(70)
    mine = {e.trace_id for e in work[ALICE]}
    results = {
        attributes(s)[sc.PIPELINE_TASK_RUN_RESULT]
        for s in story.spans
        if s.trace_id in mine and s.name.partition(" ")[0] in ("task", "job")
    }
    assert "failure" not in results


def test_the_port_of_a_driver_is_no_key_to_its_work() -> None:
    story = Story()
    driver = story.spawn(
        NOBODY, "java", "org.apache.spark.deploy.SparkSubmit", "--name", "pay", "job.py", uid=ALICE
    )
    story.fact(
        Connection,
        driver,
        stage=ConnectionStage.LISTENING,
        family=2,
        local_port=4001,
        connection_id=story.now,
    )
    executor = spark(story, MALLORY)
    process = story.core.tree.get(executor)
    assert process is not None and process.execution is not None
    assert [e.identity.type for e in process.execution.chain()] == ["executor"]
    assert story.core.bindings.drops["port_of_another_user"] == 1
    own = story.core.tree.get(spark(story, ALICE))
    assert own is not None and own.execution is not None
    assert [e.identity.type for e in own.execution.chain()] == ["executor", "job"]


def test_better_names_do_not_take_the_place_of_other_work() -> None:
    """Two runs of one user say that they are the same run of Dagster:
    the second keeps its own place."""
    story = Story()
    path = "/home/storage/0f0f0f0f-0000-4000-8000-000000000001/compute_logs/x.out"
    jobs = [
        story.spawn(NOBODY, "dagster", "job", "execute", "-j", "pay", uid=ALICE) for _ in range(2)
    ]
    for key in jobs:
        story.opens(key, path, APPEND)
    assert len(story.core.executions.open) == 2
    for key in jobs:
        story.exit(key)
    story.tick(70)
    assert len([s for s in story.spans if s.name == "job pay"]) == 2


def test_nobody_speaks_for_the_process_of_another_user() -> None:
    """A child that has another user binds its parent: Prefect's temporary server names the script
    that started it."""
    story = Story()
    script = story.spawn(NOBODY, "python3", "flow.py", uid=ALICE)
    server = story.spawn(
        script, "python3", "-m", "uvicorn", "prefect.server.api.server:create_app", uid=MALLORY
    )
    assert story.core.bindings.drops["of_another_user"] == 1
    process = story.core.tree.get(script)
    assert server and process is not None and process.execution is None
