"""Bursts of work that ends at once: what one step does has a bound, and one user's burst holds up
nobody else's work."""

from __future__ import annotations

import os

import pytest

from receiver.events import ProcessKey
from receiver.investigate import incidents, waiting
from receiver.investigate.compose import investigate
from receiver.investigate.history import History
from receiver.model import CoreOptions
from tests.builders import MS, Story, airflow, attributes

INIT = ProcessKey(1, 1)
MALLORY, VICTIM = 1001, 1002


def burst(story: Story, count: int, *, status: int = 0, uid: int = MALLORY) -> None:
    """So many tasks of this user end at once, and their time of grace is over."""
    for key in [
        story.spawn(INIT, "python3", environ=airflow(f"t{n}", dag=f"of_{uid}"), uid=uid)
        for n in range(count)
    ]:
        story.exit(key, status, after_ms=0.1)


def drops(story: Story) -> dict[object, object]:
    return {
        dict(point.attributes)["pipeline.observer.loss.reason"]: point.value
        for metric in story.core.metrics()
        if metric.name == "pipeline.observer.drops"
        for point in metric.points
    }


def test_a_burst_of_a_thousand_ends_is_investigated_a_bounded_number_at_a_time() -> None:
    story = Story()
    history = story.core.history = History()
    burst(story, 1_000)
    steps: list[int] = []
    story.tick(70)
    while sum(steps) < 1_000:
        story.tick(0.1)
        steps.append(len(history.take()))
        assert len(steps) < 1_000, "it does not come to an end"
    assert max(steps) <= waiting.BURST
    assert sum(steps) <= waiting.BURST + (len(steps) + 1) * waiting.PER_SECOND / 10
    assert not story.core.incidents.waiting
    assert "uninvestigated_end" not in drops(story)


def test_events_between_the_ticks_do_not_raise_the_rate() -> None:
    story = Story()
    history = story.core.history = History()
    burst(story, 500)
    story.tick(70)
    history.take()
    done = []
    for _ in range(200):  # 2 ms each
        story.spawn(INIT, "true", uid=VICTIM)
        done.append(len(history.take()))
    assert 0 < sum(done) <= waiting.BURST + 0.4 * waiting.PER_SECOND + 1


def test_the_burst_of_one_user_does_not_delay_the_report_of_another() -> None:
    story = Story()
    burst(story, 600, status=1)
    victim = story.spawn(INIT, "python3", environ=airflow("mine"), uid=VICTIM)
    story.exit(victim, 3, after_ms=0.1)
    story.tick(70)
    story.tick(1)
    opened = [attributes(r)["pipeline.task.name"] for r in story.events("pipeline.incident.opened")]
    assert "mine" in opened
    assert len(opened) <= waiting.BURST + 1 < 600


def test_what_finds_no_room_is_counted_and_is_the_work_of_who_has_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiting, "PENDING", 20)
    story = Story()
    history = story.core.history = History()
    burst(story, 3, uid=VICTIM)
    burst(story, 60)
    story.tick(70)
    for _ in range(30):
        story.tick()
    mine = {key[2] for key in history.tasks if key[1] == f"of_{VICTIM}"}
    assert mine == {"t0", "t1", "t2"}
    assert drops(story)["uninvestigated_end"] == 63 - len(history.tasks) > 0
    assert not story.core.incidents.waiting


def test_at_the_end_a_bounded_number_is_investigated_and_the_rest_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(incidents, "LAST", 10)
    story = Story()
    history = story.core.history = History()
    burst(story, 30)
    burst(story, 1, uid=VICTIM)
    story.finish()
    assert len(history.tasks) == 10
    assert any(key[1] == f"of_{VICTIM}" for key in history.tasks)
    assert drops(story)["uninvestigated_end"] == 21


def test_symptoms_of_running_work_are_investigated_at_the_same_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each of 200 running tasks reads a file that another task is still writing."""
    story = Story()
    writer = story.spawn(INIT, "python3", environ=airflow("writer"), uid=MALLORY)
    story.opens(writer, "/data/half.csv", os.O_WRONLY | os.O_CREAT, inode=77)
    looked = 0

    def counted(*given: object) -> object:
        nonlocal looked
        looked += 1
        return investigate(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(incidents, "investigate", counted)
    tasks = [
        story.spawn(INIT, "python3", environ=airflow(f"r{number}", run="r2"), uid=MALLORY)
        for number in range(200)
    ]
    for task in tasks:
        story.now -= MS  # at once
        story.reads(task, "/data/half.csv", inode=77, size=8192)
    assert len(story.events("file.tainted_read")) == 200
    steps = []
    while looked < 200:
        before = looked
        story.tick(0.1)
        steps.append(looked - before)
        assert len(steps) < 100, "it does not come to an end"
    assert max(steps) <= waiting.BURST


def test_the_cases_of_one_user_take_no_facts_from_the_case_of_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A case holds the processes that have ended, so a long task would lose what happened in it."""
    monkeypatch.setattr("receiver.investigate.casebook.CASES", 10)
    monkeypatch.setattr("receiver.investigate.casebook.ACTORS", 50)
    story = Story(CoreOptions())
    victim = story.spawn(INIT, "bash", environ=airflow("long"), uid=VICTIM)
    lost = story.fork(victim, uid=VICTIM)
    story.exec(lost, "python3", "load.py", parent=victim, uid=VICTIM)
    story.signal(INIT, lost, 9)
    story.exit(lost, signal=9)
    for number in range(30):
        task = story.spawn(INIT, "bash", environ=airflow(f"t{number}"), uid=MALLORY)
        for _ in range(4):
            story.exit(story.spawn(task, "python3", uid=MALLORY), 1, after_ms=20)
        story.exit(task, 1, after_ms=0.1)
    execution = story.core.tree.get(victim).execution  # type: ignore[union-attr]
    assert execution is not None
    assert lost in {actor.key for actor in story.core.case(execution, story.now + MS)}
