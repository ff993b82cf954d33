"""Causes of signals: their sender and reason, and processes that handled one and succeeded."""

from __future__ import annotations

import signal
from collections import defaultdict
from collections.abc import Iterator

from receiver.events import ProcessKey, Signal
from receiver.facts.peers import Peer
from receiver.investigate.case import Case
from receiver.investigate.causes.common import (
    HANG_NS,
    at_work,
    chosen_by_oom_killer,
    died_of,
    idle_ns,
    progress,
    sender_culprit,
    sender_text,
    sent_by_process,
    shells,
    signal_facts,
)
from receiver.investigate.causes.deadlines import (
    probe,
    timeout,
    timers,
)
from receiver.investigate.causes.kill_context import signal_context
from receiver.investigate.causes.limits import common_limit
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    STRONG,
    Candidate,
    Culprit,
    Evidence,
    contradicts,
    ends,
    fact,
    facts,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.model import POLITE
from receiver.text.names import signal_name
from receiver.units import SECOND

_TOGETHER_NS = 500_000_000  # signals to one group arrive within this time


def kills(case: Case) -> Iterator[Candidate]:
    """Yields candidates for each sender of fatal signals.

    The sender may be a supervisor, a drain of a group, a supervisor with a late heartbeat, a probe
    or a time limit.
    """
    by_sender: dict[ProcessKey, list[tuple[ProcessSnapshot, Signal]]] = defaultdict(list)
    for actor in case:
        event = died_of(actor)
        if (
            event is not None
            and not actor.end.expected_shutdown
            and event.signal != signal.SIGPIPE
            and sent_by_process(actor, event)
        ):
            by_sender[event.sender].append((actor, event))
    for signalled in by_sender.values():
        signalled.sort(key=lambda pair: (pair[1].time_boottime_ns, pair[0].pid))
        first, event = next(((a, e) for a, e in signalled if a in case.path), signalled[0])
        yield _supervisor(case, first, event, signalled)
        yield from _drain(case, first, event)
        yield from _heartbeat(case, first, event)
        yield from probe(case, first, event)
        yield from timeout(case, first, event)
    yield from timers(case)


def _supervisor(
    case: Case,
    victim: ProcessSnapshot,
    event: Signal,
    signalled: list[tuple[ProcessSnapshot, Signal]],
) -> Candidate:
    evidence = [
        supports(
            STRONG - SLIGHT,
            f"{sender_text(event)} ended {victim.who}.",
            signal_facts(victim, event),
        )
    ]
    evidence += signal_context(case, victim, event)
    evidence += chosen_by_oom_killer(victim)
    idle = idle_ns(victim, event.time_boottime_ns)
    if idle >= HANG_NS and not at_work(case, victim):
        waits = (
            victim.usage.idle_period.waits
            if victim.usage is not None and victim.usage.idle_period is not None
            else ()
        )
        text = (
            f"It had been inactive for {idle / 1e9:.0f} s when the signal came: the sender "
            "ended a hang."
        )
        evidence.append(contradicts(CLEAR, text, facts(*waits[:2])))
    group = [
        a for a, e in signalled if abs(e.time_boottime_ns - event.time_boottime_ns) < _TOGETHER_NS
    ]
    if len(group) > 2:
        text = f"The same sender signalled {len(group)} of its processes at once."
        evidence.append(contradicts(SLIGHT, text, facts(*(e for _, e in signalled[:4]))))
    if event.sender_comm == "timeout":
        evidence.append(contradicts(SOME, "The sender is a time limit.", [fact(event)]))
    partition = f" while it worked on {victim.partition}" if victim.partition else ""
    summary = (
        f"{event.sender_comm} ({event.sender.tgid}) ended {victim.who} with "
        f"{signal_name(event.signal)}{partition}."
    )
    return Candidate(
        cause="kill.supervisor",
        culprit=sender_culprit(event),
        summary=summary,
        remedy=(
            f"Find out why {event.sender_comm} ({event.sender.tgid}) sent "
            f"{signal_name(event.signal)} to {victim.who}, which had not failed by itself."
        ),
        evidence=tuple(evidence),
        subject=victim.key,
        at_ns=event.time_boottime_ns,
    )


def _is_outside(case: Case, key: ProcessKey) -> bool:
    return case.actors.get(key) is None


def _drain(case: Case, victim: ProcessSnapshot, event: Signal) -> Iterator[Candidate]:
    """Finds signals to a whole group at once, and a SIGKILL after a grace period."""
    received = [
        (a, s)
        for a in case
        for s in a.signals
        if s.sender == event.sender and s.signal in (*POLITE, signal.SIGKILL)
    ]
    evidence = _ended_as_group(event, received)
    if not evidence:
        return
    if _is_outside(case, event.sender):
        evidence.append(
            supports(SOME, "The sender does not belong to the execution.", [fact(event)])
        )
    elif any(a.key == event.sender for a in case.above(victim)):
        evidence.append(
            contradicts(
                CLEAR,
                (
                    "The sender had started these processes itself, as a program does that "
                    "ends its own workers."
                ),
                [fact(event)],
            )
        )
    evidence += chosen_by_oom_killer(victim)
    if event.sender_comm == "timeout":
        evidence.append(contradicts(CLEAR, "The sender is a time limit.", [fact(event)]))
    work = progress(victim)
    if work is not None and work > 0.02:
        evidence.append(
            supports(SLIGHT, f"{victim.who} was working: it used {work:.1f} CPUs.", ends(victim))
        )
    summary = (
        f"{event.sender_comm} ({event.sender.tgid}) ended the process group of "
        f"{victim.who}, {len({a.key for a, _ in received})} processes."
    )
    yield Candidate(
        cause="kill.drain",
        culprit=sender_culprit(event),
        summary=summary,
        remedy=(
            f"Let {event.sender_comm} ({event.sender.tgid}) wait until {victim.who} has ended (a "
            "longer grace period), or protect the task from the drain."
        ),
        evidence=tuple(evidence),
        subject=victim.key,
        at_ns=event.time_boottime_ns,
    )


def _ended_as_group(
    event: Signal, received: list[tuple[ProcessSnapshot, Signal]]
) -> list[Evidence]:
    """Returns evidence that a group was told to end, and that the rest was killed later."""
    asked = [(a, s) for a, s in received if s.signal in POLITE]
    killed = [(a, s) for a, s in received if s.signal == signal.SIGKILL]
    evidence: list[Evidence] = []
    first = min((s.time_boottime_ns for _, s in asked), default=0)
    together = {a.key: s for a, s in asked if s.time_boottime_ns - first < _TOGETHER_NS}
    if len(together) >= 2:
        text = (
            f"{event.sender_comm} ({event.sender.tgid}) sent a signal to {len(together)} "
            "processes of the group at the same time."
        )
        weight = CLEAR if len(together) > 2 else SOME + SLIGHT
        evidence.append(supports(weight, text, facts(*list(together.values())[:4])))
    late = [s for _, s in killed if first and s.time_boottime_ns - first > SECOND // 2]
    if late:
        grace = (late[0].time_boottime_ns - first) / 1e9
        common = common_limit(grace)
        text = f"The remaining processes were killed {grace:.1f} s later" + (
            f"; {common.seconds:g} s is a common grace period." if common is not None else "."
        )
        weight = min(CLEAR, SOME + common.weight) if common is not None else SOME
        evidence.append(supports(weight, text, facts(*late[:3])))
    return evidence


def _heartbeat(case: Case, victim: ProcessSnapshot, event: Signal) -> Iterator[Candidate]:
    """Finds a supervisor that waited itself just before it killed a working process.

    It waited for a CPU, or for an answer of a database or an API.
    """
    sender = case.get(event.sender)
    if sender is None or sender not in case.above(victim) or shells(sender):
        return
    at = event.time_boottime_ns
    late, evidence = _late_answer(sender, at)
    delay = sender.usage.worst.get("cpu") if sender.usage is not None else None
    if delay is not None:
        text = (
            f"Between two samples, ready threads of {sender.who} waited for a CPU for "
            f"{min(1.0, delay[0]):.0%} of the time."
        )
        evidence.append(supports(SOME, text, [fact(delay[1])]))
    if not evidence:
        return
    evidence.append(
        supports(
            SOME,
            f"{sender_text(event)}: the sender is its own supervisor.",
            signal_facts(victim, event),
        )
    )
    work = at_work(case, victim)
    if work:
        evidence.append(supports(SOME, f"{victim.who} was working when it was ended.", work))
    evidence += chosen_by_oom_killer(victim)
    culprit = process_culprit(sender)
    if late is not None:
        culprit = Culprit(
            type="process",
            name=sender.script or sender.name,
            pid=sender.pid,
            start_boottime_ns=sender.start_ns,
            address=f"{late.endpoint[0]}:{late.endpoint[1]}",
            signal=signal_name(event.signal),
        )
    summary = (
        f"{sender.who} ended {victim.who}, although that was working: its own answer from "
        f"{culprit.address or 'elsewhere'} was late."
    )
    yield Candidate(
        cause="kill.heartbeat",
        culprit=culprit,
        summary=summary,
        remedy=(
            f"Set the threshold of {sender.who} to at least three times the interval of its "
            f"heartbeat, and remove the reason of its late answer."
        ),
        evidence=tuple(evidence),
        subject=victim.key,
        at_ns=at,
    )


def _late_answer(sender: ProcessSnapshot, at_ns: int) -> tuple[Peer | None, list[Evidence]]:
    """Returns the peer that the sender waited for before the signal, and the evidence for it."""
    for peer in sender.peers:
        for sample in (*peer.notable_facts, *([peer.last] if peer.last is not None else [])):
            sent_ns = sample.last_send_boottime_ns
            open_ns = at_ns - sent_ns if sent_ns > sample.last_receive_boottime_ns else 0
            if peer.longest_gap_ns < SECOND and open_ns <= SECOND:
                continue
            wait = max(peer.longest_gap_ns, at_ns - sent_ns if sent_ns < at_ns else 0)
            text = (
                f"{sender.who} waited {wait / 1e9:.1f} s for {peer.endpoint[0]}:{peer.endpoint[1]} "
                "before it sent the signal."
            )
            return peer, [supports(CLEAR + SLIGHT, text, facts(sample))]
    return None, []


CAUSES = (kills,)
