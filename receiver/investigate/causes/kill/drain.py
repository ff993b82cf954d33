"""The cause card kill.drain."""

from __future__ import annotations

import signal
from collections.abc import Iterator

from receiver.events import Signal
from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.case import Case
from receiver.investigate.causes.absences import no_sender
from receiver.investigate.causes.common import (
    chosen_by_oom_killer,
    progress,
    sender_culprit,
)
from receiver.investigate.causes.kill_context import belongs
from receiver.investigate.causes.killings import TOGETHER_NS, killings
from receiver.investigate.causes.limits import common_limit
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    Candidate,
    Evidence,
    contradicts,
    ends,
    fact,
    facts,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.model import POLITE
from receiver.units import SECOND


def drains(case: Case) -> Iterator[Candidate]:
    """Finds signals to a whole group at once, and a SIGKILL after a grace period."""
    for killing in killings(case):
        yield from _drain(case, killing.victim, killing.event)


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
    if not belongs(case, victim, event):
        text = "The sender does not belong to the execution."
        evidence.append(supports("kill.drain.sender_outside", SOME, text, [fact(event)]))
    elif any(a.key == event.sender for a in case.above(victim)):
        text = (
            "The sender had started these processes itself, as a program does that "
            "ends its own workers."
        )
        evidence.append(contradicts("kill.drain.own_workers", CLEAR, text, [fact(event)]))
    evidence += chosen_by_oom_killer(victim)
    if event.sender_comm == "timeout":
        evidence.append(
            contradicts(
                "kill.drain.time_limit", CLEAR, "The sender is a time limit.", [fact(event)]
            )
        )
    work = progress(victim)
    if work is not None and work > 0.02:
        text = f"{victim.who} was working: it used {work:.1f} CPUs."
        evidence.append(supports("kill.drain.was_working", SLIGHT, text, ends(victim)))
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
    together = {a.key: s for a, s in asked if s.time_boottime_ns - first < TOGETHER_NS}
    if len(together) >= 2:
        text = (
            f"{event.sender_comm} ({event.sender.tgid}) sent a signal to {len(together)} "
            "processes of the group at the same time."
        )
        weight = CLEAR if len(together) > 2 else SOME + SLIGHT
        evidence.append(
            supports("kill.drain.group_at_once", weight, text, facts(*list(together.values())[:4]))
        )
    late = [s for _, s in killed if first and s.time_boottime_ns - first > SECOND // 2]
    if late:
        grace = (late[0].time_boottime_ns - first) / 1e9
        common = common_limit(grace)
        text = f"The remaining processes were killed {grace:.1f} s later" + (
            f"; {common.seconds:g} s is a common grace period." if common is not None else "."
        )
        weight = min(CLEAR, SOME + common.weight) if common is not None else SOME
        evidence.append(supports("kill.drain.rest_after_grace", weight, text, facts(*late[:3])))
    return evidence


CARD = cause_class(
    name="kill.drain",
    title="its whole group was asked to end, and the remaining processes were killed",
    predicts="one sender that signals the whole group",
    rivals="kill.supervisor kill.heartbeat kill.probe mem.cgroup_oom",
    tag="longer_grace",
    fix=(
        "Set the grace period longer than the task, or protect the task from the "
        "drain (disruption budget, own session)."
    ),
    visible="P",
    brings=(
        to("fs.truncated", Via.SAME),
        to("kill.supervisor", Via.SIGNAL),
        to("net.reset_short", Via.CONNECTION_ENDS),
        to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
    ),
    absence=no_sender,
    find=(drains,),
)
