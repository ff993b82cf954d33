"""Forgeries: what a user without root can make of names, titles, environments, paths,
trees and copies of programs.

ALICE (uid 1001) is the user of the service that is forged, MALLORY (uid 1000) has an account on the
same host. Whatever Mallory does, before, during or after Alice's run: his work is not certain, and
hers has the trace, the spans, the result, the metrics and the incidents that it has without him.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from receiver import semconv as sc
from receiver.attribution.claims import Bind, Claims
from receiver.attribution.frameworks import RECOGNISERS, Recognisers
from receiver.attribution.frameworks.base import Recogniser
from receiver.attribution.rules import Rule, Rules
from receiver.events import Connection, ConnectionStage, ImageFlag, OpenedFlag, ProcessKey
from receiver.facts.handover import handed_over
from receiver.investigate.history import History
from receiver.model import CERTAIN, NOBODY, Identity
from receiver.observe.core import Core
from receiver.signals import LogRecord, Span
from receiver.work.worker import Worker
from tests.builders import HOST, Story, airflow, attributes

MALLORY, ALICE = 1000, 1001
OWN = int(OpenedFlag.USER_OWNS | OpenedFlag.IN_FOLDER_OF_USER)
APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT
LOG = "/dag_id=payroll/run_id=r1/task_id=pay/attempt=1.log"
PACKAGE = "/lib/python3.11/site-packages/airflow/__init__.py"
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


def a_title_of_version_2(story: Story) -> None:
    runner = story.spawn(shell(story), "python3", "/home/m/x.py", uid=MALLORY, **PYTHON)
    story.title(runner, "airflow task runner: payroll pay r1 7")
    dies(story, runner)


def a_title_of_version_3(story: Story) -> None:
    worker = story.spawn(shell(story), "python3", "-c", "import ctypes", uid=MALLORY, **PYTHON)
    story.title(worker, "airflow worker -- LocalExecutor: 0199-aa")
    dies(story, worker)


def an_environment(story: Story) -> None:
    child = story.spawn(
        shell(story), "python3", uid=MALLORY, environ=airflow("pay", dag="payroll"), **PYTHON
    )
    story.oom(child)
    story.exit(child, signal=9)


def a_link_to_the_real_interpreter(story: Story) -> None:
    dies(
        story,
        story.spawn(
            shell(story),
            "/home/m/airflow-python",
            "/home/m/airflow",
            "scheduler",
            uid=MALLORY,
            **PYTHON,
        ),
    )


def a_copied_interpreter(story: Story) -> None:
    other: dict[str, Any] = {
        "executable": "/usr/bin/python3.11",
        "image_flags": int(ImageFlag.USER_OWNS),
    }  # bound over the real one
    dies(
        story,
        story.spawn(
            shell(story), "python3", "/opt/airflow/bin/airflow", "scheduler", uid=MALLORY, **other
        ),
    )


def a_shadow_package(story: Story) -> None:
    scheduler = story.spawn(
        shell(story), "python3", "/usr/local/bin/airflow", "scheduler", uid=MALLORY, **PYTHON
    )
    story.opens(scheduler, "/home/m/shadow" + PACKAGE, opened_flags=OWN)
    dies(story, scheduler)


def in_the_folder_of_the_service(story: Story) -> None:
    """Mallory is of a group that may write there."""
    scheduler = story.spawn(
        shell(story), "python3", "/home/m/airflow", "scheduler", uid=MALLORY, **PYTHON
    )
    dies(story, scheduler, "/srv/airflow/logs" + LOG, opened_flags=0)


def by_his_own_manager(story: Story) -> None:
    """`systemd --user`, which pid 1 starts for him."""
    manager = story.service("systemd", "--user", uid=MALLORY, executable="/usr/lib/systemd/systemd")
    scheduler = story.spawn(
        manager, "python3", "/home/m/airflow", "scheduler", uid=MALLORY, **PYTHON
    )
    story.opens(scheduler, "/home/m/venv" + PACKAGE, opened_flags=OWN)
    dies(story, scheduler)


def by_his_own_crontab(story: Story) -> None:
    job = story.service(
        "sh",
        "-c",
        "airflow scheduler",
        uid=MALLORY,
        before="/usr/sbin/cron",
        executable="/usr/bin/dash",
    )
    dies(story, story.spawn(job, "python3", "/home/m/airflow", "scheduler", uid=MALLORY, **PYTHON))


def by_su_of_his_own(story: Story) -> None:
    """`su mallory -c …` in his shell: the real user id of su is his."""
    su = story.spawn(
        shell(story),
        "su",
        "mallory",
        uid=MALLORY,
        executable="/usr/bin/su",
        image_flags=int(ImageFlag.ROOT_OWNS),
    )
    scheduler = story.spawn(su, "python3", "/home/m/airflow", "scheduler", uid=MALLORY, **PYTHON)
    story.opens(scheduler, "/home/m/venv" + PACKAGE, opened_flags=OWN)
    dies(story, scheduler)


def in_a_cgroup_of_his_own(story: Story) -> None:
    """The part of the tree that systemd gives him: he names what is below it."""
    cgroup = f"/user.slice/user-1000.slice/user@1000.service/docker/{'ab' * 32}"
    scheduler = story.spawn(
        shell(story),
        "python3",
        "/home/m/airflow",
        "scheduler",
        uid=MALLORY,
        memory_cgroup=cgroup,
        **PYTHON,
    )
    story.opens(scheduler, "/home/m/venv" + PACKAGE, opened_flags=OWN)
    dies(story, scheduler)


FORGERIES = [
    script_named_airflow,
    a_title_of_version_2,
    a_title_of_version_3,
    an_environment,
    a_link_to_the_real_interpreter,
    a_copied_interpreter,
    a_shadow_package,
    in_the_folder_of_the_service,
    by_his_own_manager,
    by_his_own_crontab,
    by_su_of_his_own,
    in_a_cgroup_of_his_own,
]


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


def counted(story: Story) -> set[str]:
    """Metrics that have a point for the real pipeline's name."""
    return {
        m.name
        for m in story.core.metrics()
        for p in m.points
        if dict(p.attributes).get(sc.PIPELINE_NAME) == "payroll"
    }


@pytest.mark.parametrize("forge", FORGERIES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("when", ["before", "unfinished", "during", "after"])
def test_a_forgery_is_not_certain_and_leaves_the_real_run_as_it_is(
    forge: Callable[[Story], None], when: str
) -> None:
    story, alone = Story(), Story()
    # clocks and pids of both stories differ: only names and users are in the ids that are compared
    for _ in range(6):
        alone.fork(NOBODY)
    expected = real(alone)
    if when == "before":
        forge(story)
        story.tick(70)
    elif when == "unfinished":
        forge(story)
    span = real(story, between=(lambda: forge(story)) if when == "during" else lambda: None)
    if when == "after":
        forge(story)
    story.tick(70)
    story.finish()
    found = attributes(span)
    assert (span.trace_id, span.span_id, span.parent_id) == (
        expected.trace_id,
        expected.span_id,
        expected.parent_id,
    )
    assert (
        grade(span) == "certain"
        and found[sc.PIPELINE_TASK_RUN_RESULT] == "success"
        and not span.error
    )
    assert sc.PROCESS_OOM_KILLED not in found
    claims = forged(story, span)
    assert claims, "nothing was claimed: the forgery was none"
    assert not [s for s in claims if s.name != "run payroll" and grade(s) == "certain"]
    records = [r for r in story.logs if r.trace_id == span.trace_id]
    assert not [r for r in records if r.severity >= 17]
    if when in ("during", "after"):
        assert not counted(story) & {"pipeline.task.oom_kills", "pipeline.task.signals"}
        assert {grade(s) for s in claims} == {"ambiguous"}
        assert not story.events(sc.EVENT_PIPELINE_INCIDENT_OPENED)
        assert (numbers(story, "failure"), numbers(story, "success")) == (0, 1)


def test_the_evidence_says_what_is_missing() -> None:
    wanted = {
        script_named_airflow: "the package of airflow was not seen when it was imported",
        a_title_of_version_3: "no process that runs the program of airflow has forked it",
        a_copied_interpreter: "the package of airflow was not seen",
        a_shadow_package: (
            "nothing shows that root, a service manager or a container started it as uid 1000"
        ),
        by_his_own_manager: "nothing shows that root",
        by_su_of_his_own: "nothing shows that root",
        in_a_cgroup_of_his_own: "nothing shows that root",
    }
    for forge, text in wanted.items():
        story = Story()
        forge(story)
        story.tick(70)
        (span,) = [s for s in story.spans if s.name == "task pay"]
        assert grade(span) == "probable" and text in str(
            attributes(span)[sc.PIPELINE_MAPPING_EVIDENCE]
        ), forge


def lacking(**facts: Any) -> str:
    """The evidence of an attempt that has all of its proof but for these facts."""
    story = Story()
    flags = facts.pop("opened_flags", OWN)
    worker = story.fork(story.scheduler(uid=ALICE, **facts), uid=ALICE)
    story.opens(worker, "/srv/airflow/logs" + LOG, APPEND, opened_flags=flags)
    story.exit(story.fork(worker, uid=ALICE))
    story.tick(70)
    span = story.span("task pay")
    return f"{grade(span)}: {attributes(span)[sc.PIPELINE_MAPPING_EVIDENCE]}"


def test_each_fact_is_needed() -> None:
    assert lacking().startswith(
        "certain: the attempt's log file, opened by its supervisor: airflow scheduler of uid 1001, "
        "started by"
    )
    assert lacking(opened_flags=0).startswith("probable: ") and "the folder of the file" in lacking(
        opened_flags=0
    )
    assert "its executable belongs to a third user" in lacking(image_flags=0)
    assert "is not a Python interpreter" in lacking(executable="/usr/bin/perl")
    assert "the package of airflow belongs to a third user" in lacking(package=OpenedFlag(0))
    assert "nothing shows that root" in lacking(before="/usr/sbin/sshd")
    assert lacking(image_flags=int(ImageFlag.USER_OWNS), package=OpenedFlag.USER_OWNS).startswith(
        "certain"
    )


@pytest.mark.parametrize(
    ("cgroup", "text"),
    [
        (f"/system.slice/docker-{'ab' * 32}.scope", "in the container abababababab"),
        ("/system.slice/airflow-scheduler.service", "in the system unit airflow-scheduler.service"),
        ("/system.slice/cron.service", ""),
        ("/user.slice/user-1001.slice/user@1001.service/app.slice/airflow.service", ""),
    ],
)
def test_what_root_has_placed_somewhere_was_started_by_root(cgroup: str, text: str) -> None:
    found = lacking(before="/usr/sbin/sshd", memory_cgroup=cgroup)
    assert found.startswith("certain") == bool(text) and text in found


@pytest.mark.parametrize(
    ("before_uid", "before", "after", "is_proof"),
    [
        (0, "/usr/lib/systemd/systemd", "/usr/bin/python3.11", True),
        (0, "/usr/bin/runuser", "/usr/bin/bash", True),
        (0, "/usr/lib/systemd/systemd", "/usr/lib/systemd/systemd", False),
        (0, "/usr/sbin/sshd", "/usr/bin/bash", False),
        (0, "/usr/sbin/cron", "/usr/bin/dash", False),
        (0, "/usr/bin/login", "/usr/bin/bash", False),
        (1000, "/usr/bin/su", "/usr/bin/python3.11", False),
    ],
)
def test_root_hands_over_by_its_own_programs_only(
    before_uid: int, before: str, after: str, is_proof: bool
) -> None:
    assert bool(handed_over(before_uid, before, after)) is is_proof


def test_an_airflow_of_his_own_is_certain_of_his_own_work_only() -> None:
    """Both have one, and both name DAG, run and task alike."""
    for first, second in ((MALLORY, ALICE), (ALICE, MALLORY)):
        story = Story()
        spans = {uid: real(story, uid, code=0 if uid == ALICE else 1) for uid in (first, second)}
        assert {grade(s) for s in spans.values()} == {"certain"}
        assert (
            spans[ALICE].trace_id != spans[MALLORY].trace_id
            and spans[ALICE].span_id != spans[MALLORY].span_id
        )
        runs = {
            s.trace_id: attributes(s)[sc.PIPELINE_RUN_RESULT]
            for s in story.spans
            if s.name == "run payroll"
        }
        assert runs[spans[ALICE].trace_id] == "success"


def test_a_service_that_was_there_before_us_is_not_contradicted_by_the_one_of_another_user() -> (
    None
):
    """Two instances with equal names, both started by root: of one the import was not seen.
    Its work is probable, and whole."""
    for first_is_old in (True, False):
        story = Story()

        def old(story: Story = story) -> None:
            scheduler = story.service("python3", "/venv/bin/airflow", "scheduler", uid=MALLORY)
            worker = story.fork(scheduler, uid=MALLORY)
            story.opens(worker, "/srv/staging/logs" + LOG, APPEND, opened_flags=OWN)
            story.exit(story.fork(worker, uid=MALLORY), 1)

        if first_is_old:
            old()
        span = real(story, between=(lambda: None) if first_is_old else old)
        story.tick(70)
        (other,) = [s for s in forged(story, span) if s.name == "task pay"]
        assert (grade(span), grade(other)) == ("certain", "probable")
        assert (numbers(story, "failure"), numbers(story, "success")) == (1, 1)


def test_a_second_claim_of_the_same_user_is_no_part_of_the_proven_attempt() -> None:
    story = Story()

    def claim() -> None:
        stranger = story.spawn(NOBODY, "python3", uid=ALICE, environ=airflow("pay", dag="payroll"))
        story.exit(stranger, 1)

    span = real(story, between=claim)
    assert attributes(span)[sc.PIPELINE_TASK_RUN_RESULT] == "success"
    (other,) = forged(story, span)[-1:]
    assert grade(other) == "ambiguous" and other.trace_id != span.trace_id


def test_an_ambiguous_claim_says_whose_names_it_uses() -> None:
    story = Story()
    span = real(story, between=lambda: script_named_airflow(story))
    (claim,) = [s for s in forged(story, span) if s.name == "task pay"]
    assert "a proven process of uid 1001 does that run" in str(
        attributes(claim)[sc.PIPELINE_MAPPING_EVIDENCE]
    )
    (link,) = claim.links
    assert link.trace_id == span.trace_id and dict(link.attributes) == {
        sc.PIPELINE_LINK_TYPE: "claims_to_be"
    }
    assert claim.parent_id == b""


def test_what_others_ran_under_the_same_names_is_not_in_the_history_of_a_task() -> None:
    story = Story()
    history = story.core.history = History()
    an_environment(story)
    story.tick(70)
    real(story, between=lambda: script_named_airflow(story))
    assert {key[0]: len(runs) for key, runs in history.tasks.items()} == {
        "airflow of uid 1000": 1,
        "airflow of uid 1001": 1,
    }


def test_a_task_that_claims_another_task_of_its_own_service_is_ambiguous() -> None:
    story = Story()
    worker = story.fork(story.scheduler(uid=ALICE), uid=ALICE)
    story.opens(
        worker,
        "/srv/airflow/logs" + LOG.replace("task_id=pay", "task_id=mine"),
        APPEND,
        opened_flags=OWN,
    )
    task = story.fork(worker, uid=ALICE)
    story.opens(task, "/srv/airflow/logs" + LOG, APPEND, opened_flags=OWN)
    child = story.core.tree.get(story.fork(task, uid=ALICE))
    assert child is not None and child.execution is not None
    assert [(e.identity.task, e.identity.grade) for e in child.execution.chain()] == [
        ("pay", "ambiguous"),
        ("mine", "certain"),
    ]


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
