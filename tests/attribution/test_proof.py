"""What makes a claim certain, fact by fact."""

from __future__ import annotations

from typing import Any

import pytest

from receiver import semconv as sc
from receiver.events import ImageFlag, OpenedFlag
from receiver.facts.handover import handed_over
from receiver.investigate.history import History
from receiver.model import NOBODY
from tests.attribution.forgeries import (
    ALICE,
    APPEND,
    LOG,
    MALLORY,
    OWN,
    an_environment,
    forged,
    grade,
    numbers,
    real,
    script_named_airflow,
)
from tests.builders import Story, airflow, attributes


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
