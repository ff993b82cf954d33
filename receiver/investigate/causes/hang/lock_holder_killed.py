"""The cause card hang.lock_holder_killed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from receiver.events import Signal, ThreadWait
from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.case import Case
from receiver.investigate.causes.common import (
    HANG_NS,
    died_of,
    sender_culprit,
    sent_by_process,
    signal_facts,
)
from receiver.investigate.causes.kill_context import state_of, waited_for
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    STRONG,
    Candidate,
    Evidence,
    contradicts,
    fact,
    facts,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.event_text import wait_of
from receiver.text.names import counted, signal_name

Lock = tuple[int, int]  # the inode of the shared memory, and the place of the lock in it


def killed_holders(case: Case) -> Iterator[Candidate]:
    """Finds locks that workers of one parent wait for, after one of these workers was killed."""
    waiters: dict[Lock, list[tuple[ProcessSnapshot, ThreadWait]]] = defaultdict(list)
    for actor in case:
        wait = _shared_wait(actor)
        if wait is not None:
            waiters[wait.inode, wait.address_low].append((actor, wait))
    for lock, found in waiters.items():
        killed = _killed(case, lock, found)
        if killed is not None:
            yield _candidate(case, found, *killed)


def _shared_wait(actor: ProcessSnapshot) -> ThreadWait | None:
    """Returns its wait for a lock that other processes share, if it waits long and for ever."""
    period = actor.usage.idle_period if actor.usage is not None else None
    if period is None or period.ns < HANG_NS or actor.execs:
        return None
    return next(
        (w for w in period.waits if wait_of(w) == "futex" and w.inode and not w.timed), None
    )


def _killed(
    case: Case, lock: Lock, waiters: list[tuple[ProcessSnapshot, ThreadWait]]
) -> tuple[ProcessSnapshot, Signal] | None:
    """Returns the last worker of the same parent that was killed while the others waited or before,
    and that did not wait for that lock itself.
    """
    known = {a.key for a, _ in waiters}
    parents = {a.parent for a, _ in waiters}
    latest = max(w.time_boottime_ns for _, w in waiters)
    found: list[tuple[ProcessSnapshot, Signal]] = []
    for actor in case:
        event = died_of(actor)
        if (
            event is None
            or actor.key in known
            or actor.parent not in parents
            or actor.execs
            or event.time_boottime_ns > latest
            or not sent_by_process(actor, event)
        ):
            continue
        state = state_of(actor, event)
        if state is not None and (state.inode, state.address_low) != lock:
            found.append((actor, event))
    return max(found, key=lambda pair: pair[1].time_boottime_ns, default=None)


def _candidate(
    case: Case,
    waiters: list[tuple[ProcessSnapshot, ThreadWait]],
    holder: ProcessSnapshot,
    event: Signal,
) -> Candidate:
    first, wait = next((pair for pair in waiters if pair[0] in case.path), waiters[0])
    state = state_of(holder, event)
    assert state is not None
    sender = f"{event.sender_comm} ({event.sender.tgid})"
    name = signal_name(event.signal)
    doing = waited_for(state)
    many = counted(len(waiters), "process waits", "processes wait")
    text = (
        f"{many} without a timeout for one lock in shared memory (inode {wait.inode}). The parent "
        f"of {holder.who} had forked them, too."
    )
    waits = facts(*(w for _, w in waiters[:4]))
    evidence = [supports("hang.lock_holder_killed.siblings_wait", CLEAR + SLIGHT, text, waits)]
    text = (
        f"{sender} killed {holder.who} with {name}{' while ' + doing if doing else ''}: it did not "
        "wait for that lock itself."
    )
    kill = [*signal_facts(holder, event), fact(state)]
    evidence.append(supports("hang.lock_holder_killed.holder_was_killed", STRONG, text, kill))
    evidence += _others(case, waiters, holder)
    killer = case.get(event.sender)
    return Candidate(
        cause="hang.lock_holder_killed",
        culprit=process_culprit(killer) if killer is not None else sender_culprit(event),
        summary=(
            f"{sender} killed {holder.who} with {name}, which most likely held a lock in shared "
            f"memory: {many} for one, {first.who} among them."
        ),
        remedy=(
            f"Do not end {holder.name} with {name} while it may hold a lock of others: ask it to "
            "end (SIGTERM with a handler, a message), or replace the whole pool and its queues."
        ),
        evidence=tuple(evidence),
        subject=first.key,
        at_ns=event.time_boottime_ns,
        harms_without_failure=True,
    )


def _others(
    case: Case, waiters: list[tuple[ProcessSnapshot, ThreadWait]], holder: ProcessSnapshot
) -> list[Evidence]:
    """Returns whether a living worker of the same parent can hold the lock instead."""
    known = {a.key for a, _ in waiters}
    since = max(w.time_boottime_ns for _, w in waiters)
    living = [
        a
        for a in case
        if a.parent == holder.parent
        and not a.execs
        and a.key not in known
        and a is not holder
        and (not a.end_ns or a.end_ns > since)
    ]
    if living:
        text = f"{living[0].who}, of the same parent, lived and did not wait for it."
        return [
            contradicts(
                "hang.lock_holder_killed.one_did_not_wait",
                CLEAR + SOME,
                text,
                facts(living[0].exit),
            )
        ]
    text = "All living processes of the same parent that were seen wait for it."
    return [
        supports(
            "hang.lock_holder_killed.all_wait", SOME, text, facts(*(w for _, w in waiters[:2]))
        )
    ]


CARD = cause_class(
    name="hang.lock_holder_killed",
    title="the holder of a lock that processes share was killed",
    predicts="a kill of a process that shares a lock with those that wait",
    rivals="hang.fork_lock hang.pipe_full net.silent_peer",
    tag="end_workers_politely",
    fix=(
        "Do not kill a worker that may hold a lock of others: ask it to end, or replace the "
        "whole pool and its queues."
    ),
    visible="P",
    needs="thread_wait signal_state",
    brings=(
        to("hang.fork_lock", Via.SAME),
        to("hang.fork_lock", Via.PARENT),
        to("kill.", Via.ANCESTOR),
        to("net.silent_peer", Via.CONNECTION_ENDS),
    ),
    find=(killed_holders,),
)
