"""An OOM kill of a worker whose parent went on."""

from __future__ import annotations

import signal

from receiver.detect.deaths import fatal_of
from receiver.events import OomScope
from receiver.facts.peers import Peer
from receiver.investigate.case import Case
from receiver.investigate.causes.common import shells
from receiver.investigate.causes.oom_fix import larger_limit
from receiver.investigate.causes.oom_shares import shares_evidence, shares_of
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    STRONG,
    Candidate,
    Evidence,
    context,
    ends,
    fact,
    facts,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.names import mib
from receiver.units import SECOND


def killed_by_kernel(victim: ProcessSnapshot) -> list[Evidence]:
    event = victim.oom
    assert event is not None
    where = (
        f"memory cgroup {event.memory_cgroup} was at {mib(event.usage_bytes)} of "
        f"{mib(event.limit_bytes)}"
    )
    if event.scope == OomScope.HOST:
        where = f"the host had {mib(event.host_free_bytes)} of {mib(event.host_total_bytes)} left"
    text = f"The kernel's OOM killer killed {victim.who}: {where}."
    out = [
        supports(
            "mem.oom.killed_by_kernel",
            STRONG,
            text,
            [fact(event), *facts(fatal_of(victim.signals, victim.key, victim.end))],
        )
    ]
    if event.trigger != event.victim:
        who = f"{event.trigger_comm} ({event.trigger.tgid})"
        out.append(
            context(
                "mem.oom.who_allocated",
                (f"The allocation that failed was {who}'s. This does not show which process grew."),
                [fact(event)],
            )
        )
    return out


def _suffering(parent: ProcessSnapshot, broken: list[Peer], *, hung: bool) -> list[Evidence]:
    """Returns evidence that the parent lost a connection or did nothing after the loss."""
    out = []
    for peer in broken[:1]:
        text = (
            f"After that the connection of {parent.who} to "
            f"{peer.endpoint[0]}:{peer.endpoint[1]} broke."
        )
        out.append(
            supports(
                "mem.child_oom.connection_broke",
                SOME + SLIGHT,
                text,
                facts(*(peer.notable_facts[-2:] or (peer.last,))),
            )
        )
    if hung and parent.usage is not None and parent.usage.idle_period is not None:
        idle_period = parent.usage.idle_period
        text = f"{parent.who} was then inactive for {idle_period.ns / 1e9:.0f} s."
        out.append(
            supports("mem.child_oom.parent_inactive", SOME, text, facts(*idle_period.waits[:2]))
        )
    return out


def _is_worker(victim: ProcessSnapshot, parent: ProcessSnapshot) -> bool:
    return (
        not victim.execs
        or "multiprocessing" in " ".join(victim.argv)
        or (victim.executable, victim.script) == (parent.executable, parent.script)
    )


def as_child(case: Case, victim: ProcessSnapshot) -> Candidate | None:
    """Returns a candidate if the parent continued and later failed or hung in another way.

    The parent must be a program of its own, not a shell.
    """
    event, parent = victim.oom, case.get(victim.parent)
    if event is None or parent is None or parent.oom is not None or shells(parent):
        return None
    if "spark" in victim.role or "spark" in parent.role:
        return None
    worker = _is_worker(victim, parent)
    served = {p.last.local_port for p in victim.peers if p.last is not None}
    broken = [p for p in parent.peers if p.endpoint[1] in served]
    idle_period = parent.usage.idle_period if parent.usage is not None else None
    hung = idle_period is not None and idle_period.ns > 3 * SECOND
    other_end = (
        parent.exit is None
        or not (parent.end.code == 137 or parent.end.signal == signal.SIGKILL)
        or hung
    )
    if not other_end or not (worker or broken or hung):
        return None
    evidence = killed_by_kernel(victim)
    evidence += shares_evidence(victim, shares_of(case, victim))
    if worker:
        text = (
            f"It was a worker that {parent.who} had forked, and nothing reported its death "
            "to the parent."
        )
        evidence.append(
            supports("mem.child_oom.unreported", CLEAR, text, [*ends(victim), *ends(parent)])
        )
    evidence += _suffering(parent, broken, hung=hung)
    tells = f"its parent {parent.who} " + ("hung" if hung else f"{parent.end.words}")
    return Candidate(
        cause="mem.child_oom",
        culprit=process_culprit(victim),
        summary=(
            f"The OOM killer killed {victim.who} at the limit of "
            f"{event.memory_cgroup or 'its cgroup'} ({mib(event.limit_bytes)}); {tells}."
        ),
        remedy=(
            f"{larger_limit(victim, shares_of(case, victim))} Let {parent.who} notice the death of "
            "a child."
        ),
        evidence=tuple(evidence),
        subject=victim.key,
        at_ns=event.time_boottime_ns,
    )
