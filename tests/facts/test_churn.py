"""Every row is bounded and counts what it drops, and churn leaves nothing behind."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from receiver.events import (
    ProcessKey,
)
from receiver.facts.process import Process
from receiver.facts.tree import ProcessTree
from receiver.model import CoreOptions
from tests.builders import Story
from tests.facts.rows import ACTIVITIES, KEPT, asked, forgotten, keys_of_rows, parts


@pytest.mark.parametrize("reason", sorted(ACTIVITIES.keys() - {"older_moment"}))
def test_every_row_is_bounded_and_counts_what_it_drops(
    reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("receiver.facts.names.QUESTIONS", 50)
    story = Story()
    key = story.task("load")
    number, size = 0, 0
    while not story.core.activity.drops()[reason]:
        assert number < 2_000, "nothing was ever dropped"
        ACTIVITIES[reason](story, key, number)
        number += 1
    size = len(msgspec.json.encode(held(story, key)))
    for _ in range(20):
        ACTIVITIES[reason](story, key, number)
        number += 1
    assert story.core.activity.drops()[reason] >= 20
    assert len(msgspec.json.encode(held(story, key))) <= size * 1.1


def held(story: Story, key: ProcessKey) -> list[int]:
    """The number of values that each table holds of one process."""

    def count(value: Any, depth: int = 0) -> int:
        if depth > 6 or isinstance(value, (*KEPT, Process)):
            return 0
        return 1 + sum(count(part, depth + 1) for part in parts(value))

    return [1] * sum(count(table.rows.get(key)) for table in story.core.facts.tables)


def churn(seed: int, **options: Any) -> Iterator[Story]:
    """Processes of all kinds that begin, are busy and end, in any order; some exits are lost."""
    chance = random.Random(seed)
    story = Story(CoreOptions(**options))
    root = story.command("python3", "work.py")
    alive = [root]
    for number in range(400):
        step = chance.random()
        if step < 0.3 or len(alive) < 2:
            alive.append(story.spawn(chance.choice(alive), "python3", f"{number}.py"))
        elif step < 0.8:
            chance.choice(list(ACTIVITIES.values()))(story, chance.choice(alive), number)
        elif step < 0.95:
            story.exit(alive.pop(chance.randrange(1, len(alive))), code=chance.choice((0, 1)))
        else:
            gone = alive.pop(chance.randrange(1, len(alive)))
            story.core.unended.vanished([gone], story.now)
            story.core.take()  # signals of no event
        if number % 20 == 0:
            story.tick()
            yield story
    for key in alive:
        story.exit(key, signal=chance.choice((0, 9)))
    story.tick(90)
    story.tick(90)
    yield story
    assert len(story.core.tree) == 0


@pytest.mark.parametrize("seed", range(4))
def test_churn_leaves_nothing_behind(seed: int) -> None:
    for story in churn(seed):
        assert not forgotten(story.core)
    assert not story.core.facts.keys and not keys_of_rows(story.core)


@pytest.mark.parametrize("seed", range(4))
def test_churn_in_a_tree_that_is_too_small_leaves_nothing_behind(seed: int) -> None:
    limit = 10
    for story in churn(seed, process_limit=limit, linger_seconds=0.0):
        assert not forgotten(story.core)
        assert all(len(table.rows) <= limit for table in story.core.facts.tables)
    drops = story.core.tree.drops
    assert drops["evicted_live"] and drops["vanished"]


def test_the_steps_of_a_process_that_is_evicted_end_without_a_result() -> None:
    story = Story(CoreOptions(process_limit=3))
    dbt = story.spawn(ProcessKey(5, 5), "dbt", "run")
    story.opens(dbt, "/work/target/run/shop/models/users.sql", 1, thread=41)
    for _ in range(4):
        story.fork(dbt)
    assert story.core.tree.get(dbt) is None
    story.tick()
    assert not [e for e in story.core.executions.open.values() if e.is_step]


def test_a_query_that_was_never_answered_makes_no_process() -> None:
    story = Story()
    client = story.task("load")
    asked(story, client, 1)
    story.exit(client)
    story.tick(2)
    story.tick(20)
    assert len(story.core.tree) == 0
    assert story.core.activity.drops()["forgotten_question"] == 1


def test_the_tree_frees_what_it_forgets_once() -> None:
    freed: list[ProcessKey] = []
    tree = ProcessTree(Process, 2, 0, freed.append)
    keys = [ProcessKey(number, 1) for number in range(1, 5)]
    for key in keys:
        tree.ensure(key, "x")
    assert not freed  # they were alive: their ends are reported first
    for process in tree.forgotten:
        tree.free(process)
    assert freed == keys[:2]
