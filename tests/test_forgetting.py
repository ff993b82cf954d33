"""A process that is forgotten leaves no row behind, and every row is bounded and counts
what it drops."""

from __future__ import annotations

import errno
import os
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any

import msgspec
import pytest

from receiver.events import (
    CallFailed,
    CallKind,
    Connection,
    ConnectionStage,
    HeldObject,
    Holder,
    LastFailure,
    MemoryRefused,
    NameQuery,
    ProcessKey,
    ProcessSample,
    ThreadWait,
    WaitStack,
)
from receiver.facts.neighbours import Neighbours
from receiver.facts.process import Process
from receiver.facts.tree import ProcessTree
from receiver.investigate.casebook import Casebook
from receiver.investigate.incidents import Incidents
from receiver.model import CoreOptions
from receiver.observe.core import Core
from receiver.observe.recording import Recording
from receiver.observe.replay import core_of, replay
from receiver.observe.session import Session
from receiver.work.execution import Execution
from receiver.work.runs import Run
from receiver.work.work_state import NOTHING, WorkState
from receiver.work.worker import KEPT_UNNAMED
from tests.builders import Story

RECORDINGS = sorted((Path(__file__).parent / "scenarios").rglob("*.kw"))
NEVER_NS = 1 << 62

# Values of ended processes that are kept on purpose, within bounds of their own: the case and the
# work of a run outlive its processes. Neighbours are not in the tree.
KEPT = (Casebook, Incidents, Execution, Run, Neighbours)


def parts(value: Any) -> Iterator[Any]:
    """What an object of the core holds."""
    if isinstance(value, Mapping):
        yield from value.values()
    elif isinstance(value, list | tuple | deque | Set):
        yield from value
    elif type(value).__module__.startswith("receiver."):
        if isinstance(value, msgspec.Struct):
            yield from (getattr(value, name) for name in value.__struct_fields__)
        yield from getattr(value, "__dict__", {}).values()
        for kind in type(value).__mro__:
            for name in getattr(kind, "__slots__", ()):
                if hasattr(value, name):
                    yield getattr(value, name)


def keys_of_rows(core: Core) -> set[ProcessKey]:
    """The processes by which any table of the core has a row, wherever the table is."""
    found: set[ProcessKey] = set()
    seen: set[int] = set()
    left: list[Any] = [core]
    while left:
        at = left.pop()
        if id(at) in seen or isinstance(at, KEPT):
            continue
        seen.add(id(at))
        if isinstance(at, Mapping | Set):
            for key in at:
                found |= {
                    k for k in (key if isinstance(key, tuple) else (key,)) if type(k) is ProcessKey
                }
        left += parts(at)
    return found


def forgotten(core: Core) -> set[ProcessKey]:
    """The processes that have rows and that the tree does not know."""
    return keys_of_rows(core) - {process.key for process in core.tree.processes()}


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: path.stem)
def test_no_table_has_a_row_of_a_process_that_a_recording_forgot(recording: Path) -> None:
    source = Recording(recording)
    core = core_of(source.header)
    replay(Session(core), source)
    core.tree.sweep(NEVER_NS)
    assert not forgotten(core)
    assert all(process.exit is None for process in core.tree.processes())
    assert msgspec.structs.astuple(NOTHING) == msgspec.structs.astuple(WorkState())


def test_a_process_has_a_record_of_its_own_only_when_it_needs_one() -> None:
    story = Story()
    task = story.task("load")
    plain = story.core.tree.get(story.spawn(task, "sort"))
    dbt = story.core.tree.get(story.spawn(task, "python", "/venv/bin/dbt", "run"))
    assert plain is not None and dbt is not None
    assert plain._state is NOTHING and dbt._state is not NOTHING
    for thread in (41, 42):
        model = f"/work/target/compiled/shop/models/m{thread}.sql"
        story.opens(dbt.key, model, os.O_WRONLY, thread=thread)
    assert dbt.notes and [s.identity.task for s in dbt.steps.values()] == ["m41", "m42"]
    assert not plain.notes and not plain.steps


def test_a_forgotten_process_keeps_no_other_process_and_no_work() -> None:
    """Its words stay: a child that lives on asks which program its parent was."""
    story = Story()
    process = story.core.tree.get(story.spawn(story.task("load"), "snakemake"))
    assert process is not None and process.execution is not None
    process.begin_step(7, process.execution)
    for _ in range(2 * KEPT_UNNAMED):
        process.add_unnamed(process)
    process.take_role("snakemake", "snakemake")
    assert len(process.unnamed) == KEPT_UNNAMED
    process.forget()
    assert not process.steps and not process.unnamed and process.parent is None
    assert process.program_of == "snakemake"


def test_the_search_finds_rows_of_every_kind() -> None:
    """Otherwise the tests of this file could not fail."""
    story = Story()
    key = story.task("load")
    for active in ACTIVITIES.values():
        active(story, key, 0)
    facts = story.core.facts
    for table in facts.tables:
        assert key in table.rows, type(table).__name__
    assert key in keys_of_rows(story.core)
    del story.core.tree._processes[key]
    assert key in forgotten(story.core)


def failed_call(story: Story, key: ProcessKey, number: int) -> None:
    story.fact(
        CallFailed, key, call=CallKind.OPEN, call_number=number, error=errno.ENOENT, failures=1
    )


def last_failed(story: Story, key: ProcessKey, number: int) -> None:
    story.fact(LastFailure, key, failed_boottime_ns=number, error=errno.ENOENT)


def held_up(story: Story, key: ProcessKey, number: int) -> None:
    story.fact(Holder, key, held=HeldObject.LOCK, inode=number)


def connected(story: Story, key: ProcessKey, number: int) -> None:
    story.fact(
        Connection,
        key,
        stage=ConnectionStage.CONNECTED,
        family=2,
        connection_id=1 + number,
        peer_low=1 + number,
        peer_port=443,
    )


def refused(story: Story, key: ProcessKey, number: int) -> None:
    story.fact(
        Connection,
        key,
        stage=ConnectionStage.FAILED,
        family=2,
        connection_id=1_000_000 + number,
        error=errno.ECONNREFUSED,
        peer_low=5,
        peer_port=1 + number,
    )


def queue_full(story: Story, key: ProcessKey, number: int) -> None:
    story.fact(
        Connection,
        key,
        stage=ConnectionStage.LISTENING,
        family=2,
        local_port=1 + number,
        queued=200,
        backlog=128,
    )


def asked(story: Story, key: ProcessKey, number: int) -> None:
    labels = "\x03www\x07example\x03org"
    story.fact(NameQuery, key, query_id=number % 65_536, labels=labels, question_type=1, family=2)


def name_failed(story: Story, key: ProcessKey, number: int) -> None:
    asked(story, key, number)
    labels = "\x03www\x07example\x03org"
    flags = 0x8000 | 2  # an answer: the server failed
    story.fact(NameQuery, key, query_id=number % 65_536, labels=labels, query_flags=flags, family=2)


def waits(story: Story, key: ProcessKey, number: int) -> None:
    for _ in range(2):
        story.fact(ProcessSample, key, threads=2)
    story.fact(ThreadWait, key, thread=1 + number)
    story.fact(WaitStack, key, thread=1 + number)


def torn(story: Story, key: ProcessKey, number: int) -> None:
    opened = story.opens(key, f"/data/{number}", os.O_WRONLY, inode=5_000 + number)
    story.closes(key, opened, written=1, write_error=errno.ENOSPC)


def child_failed(story: Story, key: ProcessKey, number: int) -> None:
    story.exit(story.spawn(key, "python3", f"{number}.py"), code=3)


def signalled(story: Story, key: ProcessKey, _: int) -> None:
    story.signal(ProcessKey(5, 5), key, 10)


ACTIVITIES: dict[str, Callable[[Story, ProcessKey, int], object]] = {
    "older_signal": signalled,
    "too_many_failures": failed_call,
    "too_many_last_failures": last_failed,
    "too_many_holders": held_up,
    "too_many_open_files": lambda s, key, n: s.open_file(key, f"/data/{n}", inode=n),
    "too_many_files": lambda s, key, n: s.reads(key, f"/data/{n}", inode=100 + n),
    "older_change": lambda s, key, n: s.renames(key, f"/data/{n}", "/data/renamed"),
    "too_many_peers": connected,
    "older_moment": refused,
    "older_moment_evidence": lambda s, key, n: s.fact(MemoryRefused, key, asked_bytes=n),
    "too_many_queues": queue_full,
    "older_name_failure": name_failed,
    "forgotten_question": asked,
    "too_many_waits": waits,
    "too_many_findings": torn,
    "too_many_failed_children": child_failed,
}


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
