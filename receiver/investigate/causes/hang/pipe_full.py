"""The cause card hang.pipe_full."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.calls import call_name
from receiver.events import ThreadWait, WaitObject
from receiver.facts.waits import IdlePeriod
from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.case import Case
from receiver.investigate.causes.hangs import idle_periods, standing_at
from receiver.investigate.causes.stalls import ended_by
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    Candidate,
    facts,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.event_text import wait_of


def full_pipes(case: Case) -> Iterator[Candidate]:
    """Finds processes that wait to write to a pipe, and who does not read it."""
    for actor, period in idle_periods(case):
        yield from _pipe(case, actor, period)


def _pipe(case: Case, actor: ProcessSnapshot, idle_period: IdlePeriod) -> Iterator[Candidate]:
    waits, idle = idle_period.waits, idle_period.ns
    pipes = [
        w
        for w in waits
        if w.waits_on == WaitObject.PIPE
        and not w.timed
        and call_name(w.call_number) in ("write", "writev", "splice")
    ]
    for wait in pipes[:1]:
        where, shown = standing_at(idle_period, wait)
        text = (
            f"{actor.who} has waited for {idle / 1e9:.0f} s to write to a pipe that no "
            f"process reads.{where}"
        )
        shown = (*facts(wait), *shown)
        evidence = [supports("hang.pipe_full.write_unread", CLEAR + SLIGHT, text, shown)]
        others = [
            a
            for a in (case.get(actor.parent), *case)
            if a is not None and a is not actor and _waits_for(a, actor, wait)
        ]
        if others:
            other = others[0]
            theirs = other.usage.idle_period if other.usage is not None else None
            text = f"{other.who}, at the other end, waits for it or for another pipe of it."
            shown = facts(*(theirs.waits[:2] if theirs is not None else ()))
            evidence.append(supports("hang.pipe_full.reader_waits_too", CLEAR, text, shown))
        evidence += ended_by(actor)
        reader = others[0] if others else case.get(actor.parent)
        culprit = process_culprit(reader) if reader is not None else process_culprit(actor)
        summary = (
            f"{actor.who} waits to write to a pipe, and "
            f"{reader.who if reader is not None else 'its reader'} does not read it."
        )
        yield Candidate(
            cause="hang.pipe_full",
            culprit=culprit,
            summary=summary,
            remedy=(
                f"Let {reader.who} read the output of {actor.who} while it runs (communicate(), a "
                "thread for each pipe), or write it to a file."
                if reader is not None
                else ""
            ),
            evidence=tuple(evidence),
            subject=actor.key,
            at_ns=wait.time_boottime_ns,
            harms_without_failure=True,
        )


def _waits_for(other: ProcessSnapshot, actor: ProcessSnapshot, wait: ThreadWait) -> bool:
    idle_period = other.usage.idle_period if other.usage is not None else None
    if idle_period is None:
        return False
    for theirs in idle_period.waits:
        kind = wait_of(theirs)
        if kind == "child" and (theirs.child in (0, actor.pid)):
            return True
        if theirs.waits_on == WaitObject.PIPE and other.key == actor.parent:
            return True
    return wait.inode != 0 and wait.inode in (other.stdin_inode, other.stdout_inode)


CARD = cause_class(
    name="hang.pipe_full",
    title="two processes wait for each other at a pipe",
    predicts="a wait on a pipe whose other end waits, too",
    rivals="hang.fork_lock net.silent_peer",
    tag="drain_pipes",
    fix=(
        "Read the child's output while it runs (communicate(), a thread for each "
        "pipe), or write it to a file."
    ),
    needs="thread_wait",
    brings=(
        to("kill.", Via.ANCESTOR),
        to("net.silent_peer", Via.CONNECTION_ENDS),
        to("hang.", Via.PARENT),
    ),
    find=(full_pipes,),
)
