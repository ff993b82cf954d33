"""Causes of signals: their sender and reason, and processes that handled one and succeeded."""

from __future__ import annotations

import signal
from collections import defaultdict
from collections.abc import Iterator

from receiver.detect.deaths import SI_TIMER
from receiver.events import FileReason, ProcessKey, Signal
from receiver.investigate.case import Case, ProcessSnapshot
from receiver.investigate.causes.common import (
    SECOND,
    died_of,
    idle_ns,
    progress,
    sender_culprit,
    sender_text,
    sent_by_process,
    shells,
    signal_facts,
)
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    STRONG,
    Candidate,
    Culprit,
    Evidence,
    Fact,
    context,
    contradicts,
    ends,
    fact,
    facts,
    facts_of_use,
    process_culprit,
    supports,
)
from receiver.text.names import signal_name, times

_TOGETHER_NS = 500_000_000  # signals to one group arrive within this time
_ROUND = 0.06  # seconds by which a grace period or an age may differ from a round number
_POLITE = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_HANG_NS = 5 * SECOND


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
            and not actor.end.retired
            and event.signal != signal.SIGPIPE
            and sent_by_process(actor, event)
        ):
            by_sender[event.sender].append((actor, event))
    for signalled in by_sender.values():
        signalled.sort(key=lambda pair: (pair[1].time_boottime_ns, pair[0].pid))
        first, event = next(((a, e) for a, e in signalled if a in case.path), signalled[0])
        yield _supervisor(first, event, signalled)
        yield from _drain(case, first, event)
        yield from _heartbeat(case, first, event)
        yield from _probe(case, first, event)
        yield from _timeout(case, first, event)
    yield from _timers(case)


def _supervisor(
    victim: ProcessSnapshot, event: Signal, signalled: list[tuple[ProcessSnapshot, Signal]]
) -> Candidate:
    evidence = [
        supports(
            STRONG - SLIGHT,
            f"{sender_text(event)} ended {victim.who}.",
            signal_facts(victim, event),
        )
    ]
    if victim.oom is not None:
        evidence.append(
            contradicts(STRONG, "The kernel's OOM killer had chosen it.", facts(victim.oom))
        )
    idle = idle_ns(victim, event.time_boottime_ns)
    if idle >= _HANG_NS:
        waits = (
            victim.usage.spell.waits
            if victim.usage is not None and victim.usage.spell is not None
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
    if event.sender_comm in ("timeout", "sched"):
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
        if s.sender == event.sender and s.signal in (*_POLITE, signal.SIGKILL)
    ]
    asked = [(a, s) for a, s in received if s.signal in _POLITE]
    killed = [(a, s) for a, s in received if s.signal == signal.SIGKILL]
    evidence: list[Evidence] = []
    first = min((s.time_boottime_ns for _, s in asked), default=0)
    together = {a.key: s for a, s in asked if s.time_boottime_ns - first < _TOGETHER_NS}
    if len(together) >= 2:
        text = (
            f"{event.sender_comm} ({event.sender.tgid}) sent a signal to {len(together)} "
            "processes of the group at the same time."
        )
        evidence.append(
            supports(
                CLEAR if len(together) > 2 else SOME + SLIGHT,
                text,
                facts(*list(together.values())[:4]),
            )
        )
    late = [s for _, s in killed if first and s.time_boottime_ns - first > SECOND // 2]
    if late:
        grace = (late[0].time_boottime_ns - first) / 1e9
        is_round = abs(grace - round(grace)) < max(_ROUND, 0.02 * grace)
        text = f"The remaining processes were killed {grace:.1f} s later" + (
            ", which is a common grace period." if is_round else "."
        )
        evidence.append(supports(CLEAR if is_round else SOME, text, facts(*late[:3])))
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
    if victim.oom is not None:
        evidence.append(
            contradicts(STRONG, "The kernel's OOM killer had chosen it.", facts(victim.oom))
        )
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
        evidence=tuple(evidence),
        subject=victim.key,
        at_ns=event.time_boottime_ns,
    )


def _heartbeat(case: Case, victim: ProcessSnapshot, event: Signal) -> Iterator[Candidate]:
    """Finds a supervisor that waited itself just before it killed a working process.

    It waited for a CPU, or for an answer of a database or an API.
    """
    sender = case.get(event.sender)
    if sender is None or sender not in case.above(victim) or shells(sender):
        return
    at = event.time_boottime_ns
    gaps = [
        (p, m)
        for p in sender.peers
        for m in (*p.moments, *([p.last] if p.last is not None else []))
        if p.longest_gap_ns >= SECOND
        or (
            m.last_send_boottime_ns > m.last_receive_boottime_ns
            and at - m.last_send_boottime_ns > SECOND
        )
    ]
    evidence: list[Evidence] = []
    for peer, sample in gaps[:1]:
        wait = max(
            peer.longest_gap_ns,
            at - sample.last_send_boottime_ns if sample.last_send_boottime_ns < at else 0,
        )
        text = (
            f"{sender.who} waited {wait / 1e9:.1f} s for "
            f"{peer.endpoint[0]}:{peer.endpoint[1]} before it sent the signal."
        )
        evidence.append(supports(CLEAR + SLIGHT, text, facts(sample)))
    delay = sender.usage.worst.get("cpu") if sender.usage is not None else None
    if delay is not None:
        text = f"{sender.who} waited for a CPU for {min(1.0, delay[0]):.0%} of the time."
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
    work = _at_work(case, victim)
    if work:
        evidence.append(supports(SOME, f"{victim.who} was working when it was ended.", work))
    if victim.oom is not None:
        evidence.append(
            contradicts(STRONG, "The kernel's OOM killer had chosen it.", facts(victim.oom))
        )
    late = gaps[0][0] if gaps else None
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
        evidence=tuple(evidence),
        subject=victim.key,
        at_ns=at,
    )


def _at_work(case: Case, victim: ProcessSnapshot) -> list[Fact]:
    """Returns facts that show work by the process or its descendants in its last seconds.

    The list is empty if there are none.
    """
    for actor in (victim, *case.below(victim)):
        used = progress(actor)
        if used is not None and used > 0.05:
            return [*facts(actor.usage.last if actor.usage is not None else None), *ends(actor)]
        recent = [
            u for u in actor.uses if u.written_bytes and victim.end_ns - u.last_ns < 5 * SECOND
        ]
        if recent:
            return [*facts_of_use(recent[0])]
    return []


def _timeout(case: Case, victim: ProcessSnapshot, event: Signal) -> Iterator[Candidate]:
    """Finds `timeout`, and senders that kill at a round age."""
    sender = case.get(event.sender)
    age = (event.time_boottime_ns - victim.start_ns) / 1e9
    if sender is not None and event.sender_comm != "timeout":
        age = (
            min(age, (event.time_boottime_ns - sender.start_ns) / 1e9)
            if sender.name == "timeout"
            else age
        )
    is_timeout = event.sender_comm == "timeout" or (sender is not None and sender.name == "timeout")
    is_round = age >= 0.9 and abs(age - round(age)) < _ROUND + 0.01 * age
    orphans = [a for a in case.below(victim) if not a.end_ns or a.end_ns > victim.end_ns + SECOND]
    above = sender is not None and (sender in case.above(victim))
    if not is_timeout and not (above and (is_round or orphans)):
        return
    if sender is not None and shells(sender) and not is_timeout:
        return
    evidence = []
    if is_timeout:
        text = f"timeout ({event.sender.tgid}) ended it {age:.2f} s after its start."
        evidence.append(supports(STRONG, text, signal_facts(victim, event)))
    elif is_round:
        text = (
            f"Its parent {event.sender_comm} ({event.sender.tgid}) ended it {age:.2f} s "
            "after its start, which is a common time limit."
        )
        evidence.append(supports(CLEAR + SLIGHT, text, signal_facts(victim, event)))
    if orphans:
        text = f"{len(orphans)} of its children continued without it, for example {orphans[0].who}."
        evidence.append(supports(CLEAR, text, [*ends(victim), *ends(orphans[0])]))
    idle = idle_ns(victim, event.time_boottime_ns)
    below = max((idle_ns(a, event.time_boottime_ns) for a in case.below(victim)), default=0)
    if max(idle, below if not orphans else 0) >= _HANG_NS:
        evidence.append(
            contradicts(
                CLEAR,
                f"It had been inactive for {max(idle, below) / 1e9:.0f} s by then.",
                ends(victim),
            )
        )
    if victim.oom is not None:
        evidence.append(
            contradicts(STRONG, "The kernel's OOM killer had chosen it.", facts(victim.oom))
        )
    summary = f"A time limit of {age:.1f} s ended {victim.who}" + (
        f"; {len(orphans)} of its children continued." if orphans else "."
    )
    yield Candidate(
        cause="kill.timeout_orphan",
        culprit=sender_culprit(event),
        summary=summary,
        evidence=tuple(evidence),
        subject=victim.key,
        at_ns=event.time_boottime_ns,
    )


def _timers(case: Case) -> Iterator[Candidate]:
    """Finds SIGALRM: the process or its framework had set a time limit."""
    for actor in case:
        event = next(
            (
                s
                for s in actor.signals
                if s.signal == signal.SIGALRM and (s.code > 0 or s.code == SI_TIMER)
            ),
            None,
        )
        if event is None or not actor.failed or actor.end_ns - event.time_boottime_ns > 2 * SECOND:
            continue
        age = (event.time_boottime_ns - actor.start_ns) / 1e9
        orphans = [a for a in case.below(actor) if not a.end_ns or a.end_ns > actor.end_ns + SECOND]
        text = f"Its own timer expired {age:.2f} s after its start, and it exited."
        evidence = [supports(STRONG, text, [fact(event), *ends(actor)])]
        if orphans:
            evidence.append(
                supports(
                    SOME,
                    f"{orphans[0].who} continued without it.",
                    [*ends(actor), *ends(orphans[0])],
                )
            )
        summary = f"{actor.who} reached its own time limit after {age:.1f} s."
        yield Candidate(
            cause="kill.timeout_orphan",
            culprit=process_culprit(actor),
            summary=summary,
            evidence=tuple(evidence),
            subject=actor.key,
            at_ns=event.time_boottime_ns,
        )


def _probe(case: Case, victim: ProcessSnapshot, event: Signal) -> Iterator[Candidate]:
    """Finds a sender whose repeated command was killed at the same age each time.

    The sender had started that command, as a liveness probe does.
    """
    sender = case.get(event.sender)
    prober = sender if sender is not None else None
    if prober is not None and not case.children(prober):
        prober = case.get(prober.parent)
    if prober is None:
        return
    tried: dict[tuple[str, ...], list[ProcessSnapshot]] = defaultdict(list)
    for child in case.children(prober):
        if (
            child is not victim
            and child.execs
            and child.exit is not None
            and child.end_ns <= event.time_boottime_ns
        ):
            tried[child.argv].append(child)
    for probes in tried.values():
        failed = [p for p in probes if p.end.code in (124, 137, 143, 1) and p.end.code]
        ages = [(p.end_ns - p.start_ns) / 1e9 for p in failed]
        if len(failed) < 2 or max(ages) - min(ages) > max(0.2, 0.1 * max(ages)) or max(ages) < 0.3:
            continue
        text = (
            f"{prober.who} ran `{' '.join(failed[0].argv[:4])}` {times(len(probes))}; "
            f"{len(failed)} of these runs were ended after {ages[0]:.1f} s each."
        )
        evidence = [supports(STRONG, text, [f for p in failed[-3:] for f in ends(p)])]
        evidence.append(
            supports(
                SOME, f"Then {sender_text(event)} ended {victim.who}.", signal_facts(victim, event)
            )
        )
        if work := _at_work(case, victim):
            evidence.append(supports(SLIGHT, f"{victim.who} was working all the time.", work))
        summary = (
            f"The health probe of {prober.who} was too slow {times(len(failed))} "
            f"({ages[0]:.1f} s each), so {prober.who} ended {victim.who}."
        )
        yield Candidate(
            cause="kill.probe",
            culprit=process_culprit(prober),
            summary=summary,
            evidence=tuple(evidence),
            subject=victim.key,
            at_ns=event.time_boottime_ns,
        )


def swallowed(case: Case) -> Iterator[Candidate]:
    """Finds processes that handled SIGTERM, SIGINT or SIGHUP and exited with status 0.

    Their work stopped at that signal.
    """
    for actor in case:
        if actor.exit is None or actor.end.code != 0:
            continue
        taken = [
            s for s in actor.signals if s.signal in _POLITE and s.handled and s.sender != actor.key
        ]
        if not taken:
            continue
        event = taken[0]
        at = event.time_boottime_ns
        dead = [
            a
            for a in case.below(actor)
            if a.end.signal
            and a.exit is not None
            and 0 <= a.end_ns - at < 5 * SECOND
            and not a.end.retired
        ]
        torn = [
            f
            for f in actor.open_files
            if f.reason == FileReason.SIGNAL and not f.path.endswith((".log", ".lock", ".pid"))
        ]
        torn = [f for f in torn if f.position_bytes]
        wrote_on = [
            u for u in actor.uses if u.writing and u.written_bytes and u.last_ns > at + SECOND
        ]
        if not (dead or torn):
            continue
        evidence = [
            supports(
                SOME + SLIGHT,
                f"{actor.who} handled {sender_text(event)}, and exited with status 0.",
                [fact(event), *ends(actor)],
            )
        ]
        for each in dead[:1]:
            evidence.append(
                supports(CLEAR, f"Its child {each.who} {each.end.words} at that time.", ends(each))
            )
        for each_file in torn[:1]:
            text = (
                f"It was writing {each_file.path} at that moment, at byte "
                f"{each_file.position_bytes}."
            )
            evidence.append(supports(CLEAR, text, [fact(each_file)]))
        if wrote_on and not dead:
            text = (
                f"It continued to write for {(wrote_on[0].last_ns - at) / 1e9:.1f} s "
                "after the signal."
            )
            evidence.append(contradicts(SOME, text, facts_of_use(wrote_on[0])))
        if (actor.end_ns - at) < 5 * SECOND:
            text = f"It ended {(actor.end_ns - at) / 1e9:.1f} s after the signal."
            evidence.append(supports(SLIGHT, text, ends(actor)))
        summary = (
            f"{actor.who} received {signal_name(event.signal)} from {event.sender_comm} "
            f"({event.sender.tgid}), stopped its work and reported success."
        )
        yield Candidate(
            cause="kill.swallowed",
            culprit=process_culprit(actor),
            summary=summary,
            evidence=(*evidence, context("The sender.", [fact(event)])),
            subject=actor.key,
            at_ns=at,
            silent=True,
        )


CAUSES = (kills, swallowed)
