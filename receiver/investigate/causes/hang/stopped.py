"""The cause card hang.stopped."""

from __future__ import annotations

import signal
from collections.abc import Iterator

from receiver.events import ProcessKey, Signal, ThreadWait
from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.case import Case
from receiver.investigate.causes.stalls import ended_by, stalled
from receiver.investigate.evidence import (
    CLEAR,
    STRONG,
    Candidate,
    Culprit,
    fact,
    facts,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.event_text import wait_of
from receiver.text.names import signal_name

_STOPS = (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)


_TERMINAL = {
    signal.SIGTTIN: "it read from the terminal in the background",
    signal.SIGTTOU: "it wrote to the terminal in the background",
}


def stopped(case: Case) -> Iterator[Candidate]:
    """Finds a process that was stopped by job control and not continued."""
    for actor, period in stalled(case):
        waits = [w for w in period.waits if wait_of(w) == "stopped"]
        if not waits:
            continue
        text = f"{actor.who} has been stopped for {period.ns / 1e9:.0f} s."
        evidence = [supports("hang.stopped.for_long", STRONG, text, facts(*waits[:2]))]
        event = _stop_of(actor, waits[0])
        culprit, how = process_culprit(actor), ""
        if event is not None:
            culprit, how = _stopped_by(case, actor, event)
            evidence.append(
                supports(
                    "hang.stopped.by_whom",
                    CLEAR,
                    f"{actor.who} was stopped by {how}.",
                    [fact(event)],
                )
            )
        evidence += ended_by(actor)
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


CARD = cause_class(
    name="hang.stopped",
    title="job control stopped it, and nobody continued it",
    predicts="a stopped thread",
    rivals="hang.fork_lock hang.pipe_full fs.slow_io",
    tag="continue_it",
    fix=(
        "Continue it (kill -CONT). If the terminal stopped it, give it standard input from "
        "/dev/null and its output to a file, or run it in the foreground."
    ),
    needs="thread_wait signal",
    brings=(
        to("kill. hang.", Via.ANCESTOR),
        to("net.silent_peer", Via.CONNECTION_ENDS),
    ),
    find=(stopped,),
)
