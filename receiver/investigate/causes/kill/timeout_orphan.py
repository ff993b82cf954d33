"""The cause card kill.timeout_orphan."""

from __future__ import annotations

import signal
from collections.abc import Iterator

from receiver.detect.deaths import SI_TIMER
from receiver.events import Signal
from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.case import Case, task_key
from receiver.investigate.causes.common import (
    HANG_NS,
    at_work,
    chosen_by_oom_killer,
    idle_ns,
    sender_culprit,
    shells,
    signal_facts,
)
from receiver.investigate.causes.killings import killings
from receiver.investigate.causes.limits import common_limit, is_time_limit, stated_limit
from receiver.investigate.evidence import (
    CLEAR,
    SOME,
    STRONG,
    Candidate,
    Evidence,
    context,
    contradicts,
    ends,
    fact,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.names import counted
from receiver.units import SECOND


def time_limits(case: Case) -> Iterator[Candidate]:
    """Finds time limits of other processes, and own timers."""
    for killing in killings(case):
        yield from _timeout(case, killing.victim, killing.event)
    yield from _timers(case)


def _timeout(case: Case, victim: ProcessSnapshot, event: Signal) -> Iterator[Candidate]:
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
    evidence, killing = [], signal_facts(victim, event)
    who = f"{event.sender_comm} ({event.sender.tgid})"
    limit = f"The time limit of {who}"
    if is_timeout:
        text = f"{who} ended it {age:.2f} s after its start."
        evidence.append(supports("kill.timeout_orphan.known_limit", STRONG, text, killing))
        seconds = stated_limit(sender.argv) if sender is not None else None
        limit += f", {seconds:g} s," if seconds is not None else ""
    elif common is not None:
        text = (
            f"Its parent {who} ended it {age:.2f} s after its start. {common.seconds:g} s is a "
            f"common time limit; by chance, {common.chance:.0%} of all ages are so close to one."
        )
        evidence.append(supports("kill.timeout_orphan.common_age", common.weight, text, killing))
    if orphans:
        text = f"{len(orphans)} of its children continued without it, for example {orphans[0].who}."
        both = [*ends(victim), *ends(orphans[0])]
        evidence.append(supports("kill.timeout_orphan.children_went_on", CLEAR, text, both))
    evidence += _was_idle(case, victim, event, orphans)
    evidence += _waited_for_a_cpu(case, victim)
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
    return [contradicts("kill.timeout_orphan.was_idle", CLEAR, text, ends(victim))]


def _waited_for_a_cpu(case: Case, victim: ProcessSnapshot) -> list[Evidence]:
    """Says that the time went into waiting for a CPU, if that was half of it or more.

    It decides nothing: who took the CPU is a cause of its own, where it is seen.
    """
    group = [a for a in (victim, *case.below(victim)) if a.exit is not None]
    most = max(group, key=lambda a: a.exit.run_delay_ns if a.exit else 0, default=None)
    if most is None or most.exit is None:
        return []
    waited, lived = most.exit.run_delay_ns, most.end_ns - most.start_ns
    if lived < SECOND or 2 * waited < lived:
        return []
    text = (
        f"The threads of {most.who} had waited for a CPU for {waited / 1e9:.1f} s in all; it lived "
        f"for {lived / 1e9:.1f} s, and used {most.exit.cpu_runtime_ns / 1e9:.1f} s of CPU."
    )
    return [context("kill.timeout_orphan.waited_for_a_cpu", text, ends(most))]


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
        evidence = [
            supports("kill.timeout_orphan.own_timer", STRONG, text, [fact(event), *ends(actor)])
        ]
        if orphans:
            evidence.append(
                supports(
                    "kill.timeout_orphan.child_went_on",
                    SOME,
                    f"{orphans[0].who} continued without it.",
                    [*ends(actor), *ends(orphans[0])],
                )
            )
        evidence += _waited_for_a_cpu(case, actor)
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


CARD = cause_class(
    name="kill.timeout_orphan",
    title="a time limit ended it",
    predicts="a timer or a timeout command that ended it",
    rivals="kill.supervisor kill.heartbeat kill.drain mem.cgroup_oom",
    tag="raise_timeout",
    fix=(
        "Raise the time limit or make the step faster, and let the limit end the "
        "whole process group."
    ),
    brings=(
        to("fs.truncated", Via.SAME),
        to("kill.supervisor", Via.SIGNAL),
        to("net.reset_short", Via.CONNECTION_ENDS),
        to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
    ),
    find=(time_limits,),
)
