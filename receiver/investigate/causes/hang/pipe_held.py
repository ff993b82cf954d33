"""The cause card hang.pipe_held."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from receiver.calls import call_name
from receiver.events import HeldObject, Holder, HolderFlag, ThreadWait, WaitObject
from receiver.facts.waits import IdlePeriod
from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.case import Case
from receiver.investigate.causes.refusals import holder_culprit
from receiver.investigate.causes.stalls import ended_by, stalled
from receiver.investigate.evidence import (
    CLEAR,
    SOME,
    Candidate,
    ends,
    fact,
    facts,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.event_text import wait_of


def pipe_held(case: Case) -> Iterator[Candidate]:
    """Finds a reader that waits for the end of a pipe which a helper keeps open.

    The process that it had started for the pipe has ended. What that one left behind has inherited
    the writing end.
    """
    for actor, period in stalled(case):
        wait = next((w for w in period.waits if w.thread == actor.pid), period.waits[0])
        if wait_of(wait) not in ("pipe", "poll"):
            continue
        pipes: dict[int, list[Holder]] = defaultdict(list)
        for each in actor.holders:
            if each.held == HeldObject.PIPE_WRITE and each.time_boottime_ns >= period.since_ns:
                pipes[each.inode].append(each)
        for inode, held in pipes.items():
            if wait.waits_on != WaitObject.PIPE or wait.inode == inode:
                yield from _pipe_held(case, actor, period, wait, held)


def _pipe_held(
    case: Case,
    actor: ProcessSnapshot,
    period: IdlePeriod,
    wait: ThreadWait,
    held: list[Holder],
) -> Iterator[Candidate]:
    pair = _left_behind(case, actor, held)
    if pair is None:
        if wait.waits_on == WaitObject.PIPE and _holds_it_alone(actor, held):
            yield _own_end(actor, period, wait, held[0])
        return
    holder, child = pair
    culprit, who = holder_culprit(case, holder)
    seconds = period.ns / 1e9
    text = f"{actor.who} has waited for {seconds:.0f} s in {call_name(wait.call_number)}."
    evidence = [supports("hang.pipe_held.waits", SOME, text, facts(wait))]
    text = f"{who} had the writing end of its pipe open, {_since(holder, child)}."
    evidence.append(
        supports("hang.pipe_held.holder_seen", CLEAR + SOME, text, [fact(holder), *ends(child)])
    )
    text = f"{who} comes from {child.who}, which {actor.who} had started and which had ended."
    evidence.append(supports("hang.pipe_held.holder_from_ended_child", CLEAR, text, ends(child)))
    evidence += ended_by(actor)
    yield Candidate(
        cause="hang.pipe_held",
        culprit=culprit,
        summary=(
            f"{actor.who} waited for the end of a pipe that {who} kept open, after {child.who} "
            "had ended."
        ),
        remedy=(
            f"Redirect the output of {who} where {child.who} starts it (>file 2>&1), or end it "
            "together with that step."
        ),
        evidence=tuple(evidence),
        subject=actor.key,
        at_ns=child.end_ns,
        harms_without_failure=actor.exit is None,
    )


def _holds_it_alone(actor: ProcessSnapshot, held: list[Holder]) -> bool:
    """Whether the look at all processes found nobody but the reader that can write."""
    return all(each.holder == actor.key and not each.holder_flags & HolderFlag.CUT for each in held)


def _own_end(
    actor: ProcessSnapshot, period: IdlePeriod, wait: ThreadWait, holder: Holder
) -> Candidate:
    seconds = period.ns / 1e9
    text = f"{actor.who} has waited for {seconds:.0f} s in {call_name(wait.call_number)}."
    evidence = [supports("hang.pipe_held.waits_alone", SOME, text, facts(wait))]
    text = (
        f"{actor.who} itself had the writing end of that pipe open, and a look at the other "
        "processes found nobody else."
    )
    evidence.append(supports("hang.pipe_held.own_end", CLEAR + SOME, text, [fact(holder)]))
    evidence += ended_by(actor)
    return Candidate(
        cause="hang.pipe_held",
        culprit=process_culprit(actor),
        summary=(f"{actor.who} waited for the end of a pipe whose writing end it had open itself."),
        remedy=f"Let {actor.who} close descriptor {holder.descriptor} before it reads.",
        evidence=tuple(evidence),
        subject=actor.key,
        at_ns=period.since_ns,
        harms_without_failure=actor.exit is None,
    )


def _since(holder: Holder, child: ProcessSnapshot) -> str:
    seconds = (holder.time_boottime_ns - child.end_ns) / 1e9
    return f"{seconds:.1f} s after {child.who} {child.end.words}"


def _left_behind(
    case: Case, actor: ProcessSnapshot, held: list[Holder]
) -> tuple[Holder, ProcessSnapshot] | None:
    """Returns the helper that has the pipe, and the ended child of the reader that it comes from.

    None if a child of the reader has it still: then the reader waits for that one's work.
    """
    children = {c.key: c for c in case.children(actor)}
    if any(_lives(children.get(h.holder), h) for h in held):
        return None
    for holder in held:
        known = case.get(holder.holder)
        line = case.above(known) if known is not None else []
        child = next((a for a in line if a.key in children), None)
        if child is not None and child.end_ns and child.end_ns <= holder.time_boottime_ns:
            return holder, child
    return None


def _lives(child: ProcessSnapshot | None, holder: Holder) -> bool:
    return child is not None and not (0 < child.end_ns <= holder.time_boottime_ns)


CARD = cause_class(
    name="hang.pipe_held",
    title="it waited for the end of a pipe that a left-over helper kept open",
    predicts="a writing end that a helper of an ended child has open",
    rivals="hang.pipe_full kill.timeout_orphan hang.fork_lock",
    tag="close_the_pipe",
    fix=(
        "Redirect or close the helper's output where it is started (>file 2>&1), or end the "
        "helper with its step. A runner can also wait for its child and not for the pipe."
    ),
    needs="thread_wait holder",
    brings=(
        to("kill. hang.", Via.ANCESTOR),
        to("net.silent_peer", Via.CONNECTION_ENDS),
    ),
    find=(pipe_held,),
)
