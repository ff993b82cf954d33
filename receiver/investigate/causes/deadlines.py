"""Kills by time limits and probes, and kills whose status was swallowed."""

from __future__ import annotations

import signal
from collections import defaultdict
from collections.abc import Iterator

from receiver.detect.deaths import SI_TIMER
from receiver.detect.writes import is_output
from receiver.events import FileReason, Signal
from receiver.investigate.case import Case, task_key
from receiver.investigate.causes.common import (
    HANG_NS,
    at_work,
    chosen_by_oom_killer,
    idle_ns,
    sender_culprit,
    sender_text,
    shells,
    signal_facts,
)
from receiver.investigate.causes.limits import common_limit, stated_limit
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    STRONG,
    Candidate,
    Evidence,
    context,
    contradicts,
    ends,
    fact,
    facts_of_use,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.model import POLITE
from receiver.text.names import counted, signal_name, times
from receiver.units import SECOND


def timeout(case: Case, victim: ProcessSnapshot, event: Signal) -> Iterator[Candidate]:
    """Finds `timeout`, and parents that kill at the age of a common time limit."""
    sender = case.get(event.sender)
    is_timeout = is_time_limit(event, sender)
    age = _age(victim, event, sender)
    common = common_limit(age)
    orphans = [a for a in case.below(victim) if not a.end_ns or a.end_ns > victim.end_ns + SECOND]
    above = sender is not None and (sender in case.above(victim))
    if not is_timeout and not (above and (common is not None or orphans)):
        return
    if sender is not None and shells(sender) and not is_timeout:
        return
    evidence = []
    who = f"{event.sender_comm} ({event.sender.tgid})"
    limit = f"The time limit of {who}"
    if is_timeout:
        text = f"{who} ended it {age:.2f} s after its start."
        evidence.append(supports(STRONG, text, signal_facts(victim, event)))
        seconds = stated_limit(sender.argv) if sender is not None else None
        limit += f", {seconds:g} s," if seconds is not None else ""
    elif common is not None:
        text = (
            f"Its parent {who} ended it {age:.2f} s after its start. {common.seconds:g} s is a "
            f"common time limit; by chance, {common.chance:.0%} of all ages are so close to one."
        )
        evidence.append(supports(common.weight, text, signal_facts(victim, event)))
    if orphans:
        text = f"{len(orphans)} of its children continued without it, for example {orphans[0].who}."
        evidence.append(supports(CLEAR, text, [*ends(victim), *ends(orphans[0])]))
    evidence += _was_idle(case, victim, event, orphans)
    evidence += chosen_by_oom_killer(victim)
    summary = f"{limit} ended {victim.who} after {age:.1f} s"
    if not is_timeout:
        summary = f"{who} ended {victim.who} {age:.1f} s after its start, as a time limit does"
    summary += (
        f"; {counted(len(orphans), 'child', 'children')} of it continued." if orphans else "."
    )
    yield Candidate(
        cause="kill.timeout_orphan",
        culprit=sender_culprit(event),
        summary=summary,
        remedy=_longer(case, victim, age, who),
        evidence=tuple(evidence),
        subject=victim.key,
        at_ns=event.time_boottime_ns,
    )


def is_time_limit(event: Signal, sender: ProcessSnapshot | None) -> bool:
    """Whether timeout(1) sent the signal."""
    return event.sender_comm == "timeout" or (sender is not None and sender.name == "timeout")


def _longer(case: Case, victim: ProcessSnapshot, age: float, who: str) -> str:
    known = (
        case.history.duration(task_key(case.execution.identity))
        if case.history is not None
        else None
    )
    before = ""
    if known is not None:
        before = f" The last {known.count} runs took at most {known.most:.1f} s."
    return (
        f"Raise the time limit of {who} above {age:.0f} s, or make {victim.who} faster, and let "
        f"the limit end the whole process group.{before}"
    )


def _age(victim: ProcessSnapshot, event: Signal, sender: ProcessSnapshot | None) -> float:
    """Returns the seconds from the start of the time limit to the signal."""
    age = (event.time_boottime_ns - victim.start_ns) / 1e9
    if sender is not None and sender.name == "timeout" and event.sender_comm != "timeout":
        return min(age, (event.time_boottime_ns - sender.start_ns) / 1e9)
    return age


def _was_idle(
    case: Case, victim: ProcessSnapshot, event: Signal, orphans: list[ProcessSnapshot]
) -> list[Evidence]:
    idle = idle_ns(victim, event.time_boottime_ns)
    below = max((idle_ns(a, event.time_boottime_ns) for a in case.below(victim)), default=0)
    if max(idle, below if not orphans else 0) < HANG_NS or at_work(case, victim):
        return []
    text = f"It had been inactive for {max(idle, below) / 1e9:.0f} s by then."
    return [contradicts(CLEAR, text, ends(victim))]


def timers(case: Case) -> Iterator[Candidate]:
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
            remedy=(
                f"Raise the time limit of {actor.who} above {age:.0f} s, or make its step faster, "
                "and let the limit end the whole process group."
            ),
            evidence=tuple(evidence),
            subject=actor.key,
            at_ns=event.time_boottime_ns,
        )


def probe(case: Case, victim: ProcessSnapshot, event: Signal) -> Iterator[Candidate]:
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
        if work := at_work(case, victim):
            evidence.append(supports(SLIGHT, f"{victim.who} was working all the time.", work))
        summary = (
            f"The health probe of {prober.who} was too slow {times(len(failed))} "
            f"({ages[0]:.1f} s each), so {prober.who} ended {victim.who}."
        )
        yield Candidate(
            cause="kill.probe",
            culprit=process_culprit(prober),
            summary=summary,
            remedy=(
                f"Make `{' '.join(failed[0].argv[:4])}` cheaper, or let {prober.who} wait longer "
                f"than {ages[0]:.1f} s for it."
            ),
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
        event = next(
            (
                s
                for s in actor.signals
                if s.signal in POLITE and s.handled and s.sender != actor.key
            ),
            None,
        )
        if event is None:
            continue
        if _is_orderly(case, actor, event):
            continue
        at = event.time_boottime_ns
        stopped = _stopped_work(case, actor, at)
        if not stopped:
            continue
        handled = f"{actor.who} handled {sender_text(event)}, and exited with status 0."
        evidence = [supports(SOME + SLIGHT, handled, [fact(event), *ends(actor)]), *stopped]
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
            remedy=(
                f"Let the handler of {actor.who} end with a failure (raise, exit 143), so that "
                "the task is not marked as a success."
            ),
            evidence=(*evidence, context("The sender.", [fact(event)])),
            subject=actor.key,
            at_ns=at,
            harms_without_failure=True,
        )


def _is_orderly(case: Case, actor: ProcessSnapshot, event: Signal) -> bool:
    """Whether its starter stopped it, by itself or by a short-lived command such as kill(1).

    A time limit stops what it has started, too, but for another reason.
    """
    sender = case.get(event.sender)
    if sender is None or is_time_limit(event, sender):
        return False
    above = case.above(actor)
    short = sender.exit is not None and sender.end_ns - sender.start_ns < SECOND
    return sender in above or (short and case.get(sender.parent) in above)


def _stopped_work(case: Case, actor: ProcessSnapshot, at_ns: int) -> list[Evidence]:
    """Returns evidence of work that the signal stopped; empty if there is none."""
    dead = [
        a
        for a in case.below(actor)
        if a.end.signal
        and a.exit is not None
        and 0 <= a.end_ns - at_ns < 5 * SECOND
        and not a.end.expected_shutdown
    ]
    torn = [
        f
        for f in actor.open_files
        if f.reason == FileReason.SIGNAL
        and f.position_bytes
        and actor.exit is not None
        and is_output(f, actor.exit)
        and not f.path.endswith(".log")
    ]
    out = [
        supports(CLEAR, f"Its child {each.who} {each.end.words} at that time.", ends(each))
        for each in dead[:1]
    ]
    for each in torn[:1]:
        text = f"It was writing {each.path} at that moment, at byte {each.position_bytes}."
        out.append(supports(CLEAR, text, [fact(each)]))
    wrote_on = [
        u for u in actor.uses if u.writing and u.written_bytes and u.last_ns > at_ns + SECOND
    ]
    if out and wrote_on and not dead:
        seconds = (wrote_on[0].last_ns - at_ns) / 1e9
        text = f"It continued to write for {seconds:.1f} s after the signal."
        out.append(contradicts(SOME, text, facts_of_use(wrote_on[0])))
    return out


CAUSES = (swallowed,)
