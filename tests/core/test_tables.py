"""The core's tables are bounded, count what they drop, and balance."""

from __future__ import annotations

import pytest

from receiver.model import CoreOptions, Identity
from tests.builders import MS, Story, airflow
from tests.core.host import INIT


def test_a_flood_of_forged_identities_is_bounded_and_leaves_room_for_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One user gets half of the table, and each later one half of what is left."""
    monkeypatch.setattr("receiver.work.executions.OPEN_LIMIT", 100)
    story = Story()
    for index in range(80):
        story.spawn(INIT, "bash", environ=airflow(run=f"forged_{index}"))
    assert len(story.core.executions.open) == 50
    assert story.core.attempts.drops["too_many_executions"] == 30
    for index in range(20):
        story.spawn(INIT, "bash", environ=airflow(run=f"honest_{index}"), uid=1001)
    assert sum(e.identity.owner == 1001 for e in story.core.executions.open.values()) == 20


def test_the_ended_work_of_one_user_does_not_make_anothers_be_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A late process of a forgotten attempt would open it again, and send its span twice."""
    monkeypatch.setattr("receiver.work.executions.REMEMBERED_ENDED", 20)
    story = Story()
    story.exit(story.spawn(INIT, "bash", environ=airflow(run="honest"), uid=1001))
    story.tick(70)
    for index in range(60):
        story.exit(story.spawn(INIT, "bash", environ=airflow(run=f"forged_{index}")))
    story.tick(70)
    story.exit(story.spawn(INIT, "bash", environ=airflow(run="honest"), uid=1001))
    story.tick(70)
    assert story.core.attempts.drops["late_process"] == 1
    ids = [s.span_id for s in story.spans]
    assert len(ids) == len(set(ids))


def test_room_comes_back_when_work_and_its_runs_are_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.work.executions.OPEN_LIMIT", 10)
    story = Story()
    for index in range(30):
        story.exit(story.spawn(INIT, "bash", environ=airflow(run=f"r{index}")))
        story.now += 70_000 * MS
        story.core.tick(story.now)
    assert not story.core.attempts.drops
    assert not story.core.executions.open and not story.core.executions.runs


def test_a_user_claims_so_much_work_a_second_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.work.shares.BURST", 40)
    story = Story()
    for index in range(60):
        story.exit(story.spawn(INIT, "bash", environ=airflow(run=f"forged_{index}")), after_ms=0.1)
    refused = story.core.attempts.drops["too_many_claims"]
    assert 0 < refused <= 20
    story.spawn(INIT, "bash", environ=airflow(run="honest"), uid=1001)
    assert any(e.identity.owner == 1001 for e in story.core.executions.open.values())
    story.now += 1_000 * MS
    story.spawn(INIT, "bash", environ=airflow(run="later"))
    assert story.core.attempts.drops["too_many_claims"] == refused


def test_work_inside_of_a_command_that_we_started_has_no_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("receiver.work.shares.BURST", 5)
    story = Story()
    root = story.command("bash")
    for index in range(20):
        story.exit(story.spawn(root, "bash", environ=airflow(run=f"inner_{index}")), after_ms=0.1)
    assert not story.core.attempts.drops


@pytest.mark.parametrize("mapped", [False, True])
def test_a_claim_is_compared_with_few_others_however_many_there_are(
    monkeypatch: pytest.MonkeyPatch, mapped: bool
) -> None:
    """Comparing each with all stopped the service for minutes:
    6,000 claims by a user were 18 million comparisons."""
    compared = 0
    agrees = Identity.agrees

    def counted(self: Identity, other: Identity) -> bool:
        nonlocal compared
        compared += 1
        return agrees(self, other)

    monkeypatch.setattr(Identity, "agrees", counted)
    story = Story()
    for index in range(500):
        environ = (
            (*airflow(), f"AIRFLOW_CTX_MAP_INDEX={index}")
            if mapped
            else airflow(run=f"forged_{index}")
        )
        story.spawn(INIT, "bash", environ=environ)
    assert len(story.core.executions.open) == 500
    assert compared <= 1_000


def test_the_tree_is_bounded_and_counts_what_it_forgets() -> None:
    story = Story(CoreOptions(process_limit=100))
    for _ in range(150):
        story.fork(INIT)
    assert len(story.core.tree) == 100
    assert story.core.tree.drops["evicted_live"] == 50


def test_memory_of_the_dead_is_given_back() -> None:
    story = Story()
    parent = story.command("bash")
    for _ in range(300):
        child = story.fork(parent)
        story.exit(child, 1, after_ms=0)
    story.tick(10)
    assert len(story.core.tree) == 1


def test_metrics_have_bounded_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.work.shares.BURST", 20_000)
    story = Story()
    for index in range(2100):
        story.exit(story.spawn(INIT, "bash", environ=airflow(f"task_{index}")), after_ms=0)
    story.tick(6)
    durations = next(m for m in story.core.metrics() if m.name == "pipeline.task.duration")
    names = {dict(p.attributes)["pipeline.task.name"] for p in durations.points}
    assert len(names) <= 2001
    assert "_other" in names


def test_counts_balance_for_processes() -> None:
    story = Story()
    root = story.command("bash")
    for code in (0, 1, 0):
        story.exit(story.spawn(root, "step"), code)
    story.exit(root)
    by_name = {m.name: m for m in story.core.metrics()}
    assert by_name["pipeline.task.process.count"].points[0].value == 0
    assert by_name["pipeline.task.active"].points[0].value == 0
