"""Lost events mark the works that they may concern: those of the user whose share was used up,
or all."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest

from receiver import semconv as sc
from receiver.events import ProcessKey
from receiver.facts import losses as loss_facts
from receiver.facts.losses import (
    ACCOUNTS_PER_WORK,
    ANY_USER,
    ANYBODY,
    CONTROL_GROUP,
    MAPPED_USERS,
    LossAccount,
    LossyTimes,
    add_accounts,
    concerns,
)
from receiver.investigate.compose import investigate
from receiver.investigate.report import Report
from receiver.observe.recorder import Recorder
from receiver.observe.recording import Frame, FrameKind
from receiver.observe.replay import replay_frame
from receiver.observe.session import Session
from receiver.work.execution import Execution
from tests.builders import Story, attributes

SHARE = ("connection", "user_share")
ALICE, BOB = 1000, 1001


def task(story: Story, name: str, uid: int, cgroup: int = 1) -> tuple[ProcessKey, Execution]:
    """A task of this user, begun by a program of its own."""
    before = set(story.core.executions.open.values())
    environ = (
        f"AIRFLOW_CTX_DAG_ID={name}",
        "AIRFLOW_CTX_TASK_ID=load",
        "AIRFLOW_CTX_DAG_RUN_ID=r1",
    )
    key = story.spawn(
        ProcessKey(1, 1), "python3", f"{name}.py", environ=environ, uid=uid, cgroup_id=cgroup
    )
    process = story.core.tree.get(key)
    assert process is not None and process.execution is not None
    assert process.execution not in before
    return key, process.execution


def report_on(story: Story, execution: Execution) -> Report:
    return investigate(story.core.case(execution, story.now))


def lose(story: Story, by_user: dict[int, int], more: int = 0) -> None:
    """`more`: lost events of this kind whose user is not known."""
    story.core.missing.note_losses(
        {SHARE: sum(by_user.values()) + more},
        story.now,
        {(*SHARE, user): count for user, count in by_user.items()},
    )


def marked(story: Story, *executions: Execution) -> list[int]:
    """How many events each report has as lost."""
    return [
        sum(int(entry["count"]) for entry in report_on(story, e).completeness.lost)
        for e in executions
    ]


def test_a_flood_of_one_user_marks_his_own_work_and_nobody_elses() -> None:
    story = Story()
    flooder, floods = task(story, "flood", ALICE)
    victim, loads = task(story, "load", BOB)
    lose(story, {ALICE: 500})
    assert marked(story, floods, loads) == [500, 0]
    assert story.core.missing.losses_of(floods) == {SHARE: 500}
    assert story.core.missing.losses_of(loads) == {}
    for key in (flooder, victim):
        story.exit(key, 1, uid=ALICE if key == flooder else BOB)
    records = [attributes(r) for r in story.events("process.exit")]
    assert ["pipeline.observer.incomplete" in found for found in records] == [True, False]
    (lost,) = story.events("pipeline.observer.events_lost")  # of the host
    assert attributes(lost)[sc.PIPELINE_OBSERVER_EVENTS_LOST] == 500


def test_what_has_no_user_concerns_everybody() -> None:
    story = Story()
    works = [task(story, "flood", ALICE)[1], task(story, "load", BOB)[1]]
    lose(story, {ALICE: 500}, more=3)
    assert marked(story, *works) == [503, 3]
    assert [story.core.missing.losses_of(w)[SHARE] for w in works] == [503, 3]


def test_a_user_without_known_work_may_be_anybody() -> None:
    """A process can change its control group, or its user, and no record says so."""
    story = Story()
    works = [task(story, "flood", ALICE)[1], task(story, "load", BOB)[1]]
    lose(story, {CONTROL_GROUP | 77: 5})
    assert marked(story, *works) == [5, 5]


def test_root_has_the_share_of_a_control_group() -> None:
    story = Story()
    works = [task(story, "one", 0, cgroup=7)[1], task(story, "two", 0, cgroup=8)[1]]
    lose(story, {CONTROL_GROUP | 8: 5})
    assert marked(story, *works) == [0, 5]


def test_a_user_of_a_namespace_may_use_the_share_of_whoever_made_it() -> None:
    story = Story()
    works = [
        task(story, "rootless", MAPPED_USERS + 34_464, cgroup=7)[1],
        task(story, "maker", ALICE)[1],
        task(story, "load", BOB)[1],
    ]
    lose(story, {ALICE: 5})
    assert marked(story, *works) == [5, 5, 0]
    lose(story, {ALICE: 5, CONTROL_GROUP | 7: 2})  # of a container engine of root
    assert marked(story, *works) == [7, 5, 0]


def test_root_that_became_a_user_without_an_exec_is_that_user_by_its_exit() -> None:
    story = Story()
    key, work = task(story, "worker", 0, cgroup=7)
    task(story, "flood", ALICE)
    lose(story, {ALICE: 5})
    assert marked(story, work) == [0]
    story.exit(key, 0, uid=ALICE)
    assert marked(story, work) == [5]


def test_rows_that_begin_again_add_up_and_what_was_missed_concerns_everybody() -> None:
    account = LossAccount()
    steps = [
        ({ALICE: 10}, 10, [(10, ALICE)]),
        ({ALICE: 10}, 10, []),
        ({ALICE: 3}, 13, [(3, ALICE)]),  # the kernel half dropped the row: it began at 0
        ({ALICE: 3, BOB: 4}, 20, [(4, BOB), (3, None)]),
        ({ALICE: 5, BOB: 4}, 20, [(2, ALICE)]),  # read a moment after the totals
        ({ALICE: 5, BOB: 4}, 22, []),  # these are the two
    ]
    for rows, total, expected in steps:
        found = account.grow(
            {SHARE: total}, {(*SHARE, u): n for u, n in rows.items()}, lambda: {ALICE, BOB}
        )
        assert [(lost.count, lost.user) for lost in found] == expected
    assert account.concerning({SHARE: 22}, {BOB}) == {SHARE: 22 - 10 - 3 - 2}


def test_all_tables_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    known: set[int] = set()
    add_accounts(known, range(1, ACCOUNTS_PER_WORK + 1))
    assert len(known) == ACCOUNTS_PER_WORK and not concerns(9_999, known)
    add_accounts(known, [9_998])
    assert known == {ANYBODY} and concerns(9_999, known)
    assert not concerns(CONTROL_GROUP | 1, {ANY_USER}) and concerns(5, {ANY_USER})

    monkeypatch.setattr(loss_facts, "LOSSES_BY_USER", 10)
    account = LossAccount()
    users = range(1, 31)
    for total, user in enumerate(users, 1):
        account.grow({SHARE: total}, {(*SHARE, user): 1}, lambda: set(users))
    # the oldest twenty count for everybody
    assert len(account._of_user) == 10 and account.concerning({SHARE: 30}, {1}) == {SHARE: 20}

    story = Story()
    _, work = task(story, "load", BOB)
    process = story.core.tree.get(work.root.key)
    assert process is not None
    times = LossyTimes(1000)
    for at, user in pairwise(range(5_000, 5_030)):
        times.lost(user, at)
    assert len(times._of_user) == 10 and times.has(process, 5_030)


def test_losses_of_more_users_than_are_kept_are_hidden_from_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("receiver.investigate.casebook.USERS_WITH_LOSSES", 2)
    story = Story()
    works = [task(story, f"w{uid}", uid)[1] for uid in (ALICE, BOB, 1002)]
    for count in (1, 2, 3):
        lose(story, dict.fromkeys((ALICE, BOB, 1002)[:count], 1))
    assert len(story.core.casebook.users_losses) == 2
    assert marked(story, *works) == [1, 2, 2]


class Frames(Recorder):
    """Keeps frames in memory."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def write(self, kind: FrameKind, time_ns: int, payload: bytes = b"") -> None:
        self.frames.append(Frame(kind, time_ns, payload))


def test_a_recording_has_the_users_and_older_ones_without_them_can_be_read() -> None:
    recorder = Frames()
    live = Session(Story().core, recorder)
    live.losses({SHARE: 7, ("fork", "ring_full"): 1}, 5, {(*SHARE, ALICE): 4})
    (frame,) = recorder.frames
    assert msgspec.json.decode(frame.payload) == [
        [*SHARE, 7],
        ["fork", "ring_full", 1],
        [*SHARE, 4, ALICE],
    ]
    for payload, expected in (
        (frame.payload, [3, 7]),
        (b'[["connection","user_share",7]]', [7, 7]),
    ):
        story = Story()
        works = [task(story, "load", BOB)[1], task(story, "flood", ALICE)[1]]
        replay_frame(Session(story.core), Frame(FrameKind.LOSSES, story.now, payload))
        found = [
            sum(h.count for h in story.core.case(w, story.now).losses if h.kind == "connection")
            for w in works
        ]
        assert found == expected
