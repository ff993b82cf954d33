"""Waits for somebody else: a pipe that a helper keeps open, a FIFO without a partner, a stop."""

from __future__ import annotations

import errno
import signal
from collections import defaultdict
from collections.abc import Iterator

from receiver.calls import call_name
from receiver.events import HeldObject, Holder, ProcessKey, Signal, ThreadWait, WaitObject
from receiver.facts.waits import IdlePeriod
from receiver.investigate.case import Case
from receiver.investigate.causes.common import HANG_NS, died_of, sent_by_process
from receiver.investigate.causes.refusals import holder_culprit
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    STRONG,
    Candidate,
    Culprit,
    Evidence,
    ends,
    fact,
    facts,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.event_text import frames_of, wait_of
from receiver.text.names import resolve, signal_name
from receiver.units import SECOND

_STOPS = (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
_TERMINAL = {
    signal.SIGTTIN: "it read from the terminal in the background",
    signal.SIGTTOU: "it wrote to the terminal in the background",
}
_FIFO_FRAMES = ("fifo_open", "wait_for_partner")


def _stalled(case: Case) -> Iterator[tuple[ProcessSnapshot, IdlePeriod]]:
    """Yields the processes that did nothing for long, and did not go on and succeed."""
    for actor in case:
        period = actor.usage.idle_period if actor.usage is not None else None
        if period is None or period.ns < HANG_NS or not period.waits:
            continue
        went_on = actor.end_ns - (period.since_ns + period.ns) > 3 * SECOND
        if actor.end_ns and not actor.failed and went_on:
            continue
        yield actor, period


def _ended_by(actor: ProcessSnapshot) -> list[Evidence]:
    event = died_of(actor)
    if event is None or not sent_by_process(actor, event):
        return []
    text = f"{event.sender_comm} ({event.sender.tgid}) ended it in the end."
    return [supports(SLIGHT, text, [fact(event)])]


def pipe_held(case: Case) -> Iterator[Candidate]:
    """Finds a reader that waits for the end of a pipe which a helper keeps open.

    The process that it had started for the pipe has ended. What that one left behind has inherited
    the writing end.
    """
    for actor, period in _stalled(case):
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
        return
    holder, child = pair
    culprit, who = holder_culprit(case, holder)
    seconds = period.ns / 1e9
    text = f"{actor.who} has waited for {seconds:.0f} s in {call_name(wait.call_number)}."
    evidence = [supports(SOME, text, facts(wait))]
    text = f"{who} had the writing end of its pipe open, {_since(holder, child)}."
    evidence.append(supports(CLEAR + SOME, text, [fact(holder), *ends(child)]))
    text = f"{who} comes from {child.who}, which {actor.who} had started and which had ended."
    evidence.append(supports(CLEAR, text, ends(child)))
    evidence += _ended_by(actor)
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


def fifo(case: Case) -> Iterator[Candidate]:
    """Finds a process that waits in open(2) for the other end of a FIFO."""
    for actor, period in _stalled(case):
        for wait in period.waits:
            stack = period.stack(wait)
            frames = frames_of(stack) if stack is not None else ()
            if not any(frame.startswith(_FIFO_FRAMES) for frame in frames):
                continue
            path, shown = _interrupted_open(actor)
            what = path or "a FIFO"
            text = (
                f"{actor.who} has waited for {period.ns / 1e9:.0f} s in "
                f"{call_name(wait.call_number)}, in the kernel's {' < '.join(frames[:3])}: no "
                "process has the other end of the FIFO open."
            )
            evidence = [supports(STRONG + SOME, text, facts(wait, stack))]
            if path:
                text = f"A signal ended its wait to open {path}."
                evidence.append(supports(SLIGHT, text, shown))
            evidence += _ended_by(actor)
            yield Candidate(
                cause="hang.fifo_partner",
                culprit=Culprit(type="file", path=path) if path else process_culprit(actor),
                summary=f"{actor.who} waited to open {what}, whose other end nobody had open.",
                remedy=f"Start the process first that opens the other end of {what}.",
                evidence=tuple(evidence),
                subject=actor.key,
                at_ns=period.since_ns,
                harms_without_failure=actor.exit is None,
            )
            break


def _interrupted_open(actor: ProcessSnapshot) -> tuple[str, tuple]:  # type: ignore[type-arg]
    """The path of the open that the signal interrupted which ended the process."""
    calls = [
        c
        for c in actor.last_failures
        if c.error == errno.EINTR and call_name(c.call_number).startswith("open") and c.path
    ]
    if not calls:
        return "", ()
    return resolve(calls[-1].directory, calls[-1].path), facts(calls[-1])


def stopped(case: Case) -> Iterator[Candidate]:
    """Finds a process that was stopped by job control and not continued."""
    for actor, period in _stalled(case):
        waits = [w for w in period.waits if wait_of(w) == "stopped"]
        if not waits:
            continue
        text = f"{actor.who} has been stopped for {period.ns / 1e9:.0f} s."
        evidence = [supports(STRONG, text, facts(*waits[:2]))]
        event = _stop_of(actor, waits[0])
        culprit, how = process_culprit(actor), ""
        if event is not None:
            culprit, how = _stopped_by(case, actor, event)
            evidence.append(supports(CLEAR, f"{actor.who} was stopped by {how}.", [fact(event)]))
        evidence += _ended_by(actor)
        summary = f"{actor.who} was stopped{f' by {how}' if how else ''} and not continued."
        stops = f" ({how})" if how else ""
        yield Candidate(
            cause="hang.stopped",
            culprit=culprit,
            summary=summary,
            remedy=f"Continue it with kill -CONT {actor.pid}, and find out who stops it{stops}.",
            evidence=tuple(evidence),
            subject=actor.key,
            at_ns=event.time_boottime_ns if event is not None else period.since_ns,
            harms_without_failure=actor.exit is None,
        )


def _stop_of(actor: ProcessSnapshot, wait: ThreadWait) -> Signal | None:
    stops = [
        s
        for s in actor.signals
        if s.signal in _STOPS and s.time_boottime_ns <= wait.time_boottime_ns
    ]
    return stops[-1] if stops else None


def _stopped_by(case: Case, actor: ProcessSnapshot, event: Signal) -> tuple[Culprit, str]:
    name = signal_name(event.signal)
    if event.signal in _TERMINAL and event.code > 0:
        why = _TERMINAL[signal.Signals(event.signal)]
        return process_culprit(actor), f"{name} of the terminal, because {why}"
    if event.code > 0 or event.sender == actor.key:
        who = "the kernel" if event.code > 0 else "itself"
        return process_culprit(actor), f"{name} of {who}"
    sender = case.get(event.sender)
    who = sender.who if sender is not None else f"{event.sender_comm} ({event.sender.tgid})"
    return _culprit(event.sender, event), f"{name} of {who}"


def _culprit(key: ProcessKey, event: Signal) -> Culprit:
    return Culprit(
        type="process",
        name=event.sender_comm,
        pid=key.tgid,
        start_boottime_ns=key.start_boottime_ns,
        signal=signal_name(event.signal),
    )


CAUSES = (pipe_held, fifo, stopped)
