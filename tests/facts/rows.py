"""The rows of all tables that name a process."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Set
from typing import Any

import msgspec

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
from receiver.investigate.casebook import Casebook
from receiver.investigate.incidents import Incidents
from receiver.observe.core import Core
from receiver.work.execution import Execution
from receiver.work.runs import Run
from tests.builders import Story

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
