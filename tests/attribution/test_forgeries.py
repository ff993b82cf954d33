"""Forgeries: no name, title, environment, file or cgroup that a user without root can make is
certain, and none touches the real run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from receiver import semconv as sc
from receiver.events import ImageFlag
from receiver.model import NOBODY
from tests.attribution.forgeries import (
    LOG,
    MALLORY,
    OWN,
    PYTHON,
    an_environment,
    dies,
    forged,
    grade,
    numbers,
    real,
    script_named_airflow,
    shell,
)
from tests.builders import Story, attributes

PACKAGE = "/lib/python3.11/site-packages/airflow/__init__.py"


def a_title_of_version_2(story: Story) -> None:
    runner = story.spawn(shell(story), "python3", "/home/m/x.py", uid=MALLORY, **PYTHON)
    story.title(runner, "airflow task runner: payroll pay r1 7")
    dies(story, runner)


def a_title_of_version_3(story: Story) -> None:
    worker = story.spawn(shell(story), "python3", "-c", "import ctypes", uid=MALLORY, **PYTHON)
    story.title(worker, "airflow worker -- LocalExecutor: 0199-aa")
    dies(story, worker)


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
