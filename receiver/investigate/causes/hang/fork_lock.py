"""The cause card hang.fork_lock."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.calls import call_name
from receiver.events import WaitObject
from receiver.facts.waits import IdlePeriod
from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.case import Case
from receiver.investigate.causes.hangs import idle_periods, standing_at
from receiver.investigate.causes.stalls import ended_by
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    STRONG,
    Candidate,
    Evidence,
    contradicts,
    facts,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.event_text import wait_of


def fork_locks(case: Case) -> Iterator[Candidate]:
    """Finds forked processes that wait for a lock that no thread of them can release."""
    for actor, period in idle_periods(case):
        yield from _fork_lock(case, actor, period)


def _fork_lock(case: Case, actor: ProcessSnapshot, idle_period: IdlePeriod) -> Iterator[Candidate]:
    waits, idle = idle_period.waits, idle_period.ns
    locks = [w for w in waits if wait_of(w) == "futex" and not w.timed]
    if not locks or actor.execs or len(waits) > 1:
        return
    where, shown = standing_at(idle_period, locks[0])
    text = (
        f"{actor.who} has been inactive for {idle / 1e9:.0f} s: its only thread waits for "
        f"a lock without a timeout.{where}"
    )
    parent = case.get(actor.parent)
    evidence = [
        supports(
            "hang.fork_lock.only_thread_waits", CLEAR + SLIGHT, text, [*facts(*locks[:2]), *shown]
        )
    ]
    evidence += _lost_threads(actor, parent)
    evidence += ended_by(actor)
    reader = _reads_for_all(case, actor)
    if reader is not None:
        its_spell = reader.usage.idle_period if reader.usage is not None else None
        at_pipe = facts(*its_spell.waits[:1]) if its_spell is not None else ()
        text = (
            f"{reader.who}, forked by the same parent, holds the lock and waits at a pipe "
            "for work: a pool without work."
        )
        evidence.append(contradicts("hang.fork_lock.idle_pool", STRONG, text, at_pipe))
    summary = (
        f"{actor.who}, forked from "
        f"{parent.who if parent is not None else 'a threaded parent'}, waits forever for a "
        "lock."
    )
    yield Candidate(
        cause="hang.fork_lock",
        culprit=process_culprit(actor),
        summary=summary,
        remedy=(
            f"Let {parent.who} start its children with spawn or forkserver, not with fork."
            if parent is not None
            else ""
        ),
        evidence=tuple(evidence),
        subject=actor.key,
        at_ns=locks[0].time_boottime_ns,
        harms_without_failure=True,
    )


def _lost_threads(actor: ProcessSnapshot, parent: ProcessSnapshot | None) -> list[Evidence]:
    """Returns evidence that no thread of the process can release its lock."""
    last = actor.usage.last if actor.usage is not None else None
    forked = actor.moments.forked
    usage = parent.usage if parent is not None else None
    before = usage.first if usage is not None else None
    if before is not None and before.time_boottime_ns > actor.start_ns:
        before = None  # a later sample counts threads that came after the fork
    threads = forked.threads if forked is not None else before.threads if before is not None else 0
    if threads > 1:
        text = (
            f"It was forked, without an exec, from a process that had {threads} threads then. The "
            "thread that held the lock does not exist in it."
        )
        return [supports("hang.fork_lock.threads_at_fork", CLEAR, text, facts(forked or before))]
    if last is not None and last.threads == 1:
        text = "It has one thread: no other thread in it can release the lock."
        return [supports("hang.fork_lock.one_thread", SOME, text, facts(last))]
    return []


def _reads_for_all(case: Case, actor: ProcessSnapshot) -> ProcessSnapshot | None:
    """Returns the worker of a pool that waits at the queue of the pool.

    The other workers wait for a lock that it holds, as in multiprocessing's SimpleQueue.
    """
    parent = case.get(actor.parent)
    for other in case.children(parent) if parent is not None else ():
        idle_period = other.usage.idle_period if other.usage is not None else None
        if other is actor or other.execs or idle_period is None:
            continue
        if any(
            w.waits_on == WaitObject.PIPE and call_name(w.call_number) in ("read", "readv")
            for w in idle_period.waits
        ):
            return other
    return None


CARD = cause_class(
    name="hang.fork_lock",
    title="a child of a threaded process waits for a lock that no thread can release",
    predicts="a single-threaded fork of a threaded parent that waits forever in futex",
    rivals="hang.pipe_full net.silent_peer fs.slow_io",
    tag="spawn",
    fix=("Start children with spawn or forkserver, not with fork from a process with threads."),
    needs="thread_wait",
    brings=(
        to("kill.", Via.ANCESTOR),
        to("net.silent_peer", Via.CONNECTION_ENDS),
    ),
    find=(fork_locks,),
)
