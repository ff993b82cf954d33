"""The cause card kill.supervisor."""

from __future__ import annotations

from collections.abc import Iterator

from receiver import semconv as sc
from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.case import Case
from receiver.investigate.causes.absences import no_sender
from receiver.investigate.causes.common import (
    HANG_NS,
    at_work,
    chosen_by_oom_killer,
    idle_ns,
    sender_culprit,
    sender_text,
    signal_facts,
)
from receiver.investigate.causes.kill_context import signal_context
from receiver.investigate.causes.killings import TOGETHER_NS, Killing, killings
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    STRONG,
    Candidate,
    Evidence,
    contradicts,
    ends,
    fact,
    facts,
    supports,
)
from receiver.text.names import signal_name


def supervisors(case: Case) -> Iterator[Candidate]:
    """Finds the sender of each fatal signal."""
    for killing in killings(case):
        yield _supervisor(case, killing)


def _supervisor(case: Case, killing: Killing) -> Candidate:
    victim, event = killing.victim, killing.event
    partition = f" while it worked on {victim.partition}" if victim.partition else ""
    name = signal_name(event.signal)
    return Candidate(
        cause="kill.supervisor",
        culprit=sender_culprit(event),
        summary=f"{killing.by} ended {victim.who} with {name}{partition}.",
        remedy=(
            f"Find out why {killing.by} sent {name} to {victim.who}, which had not failed by "
            "itself."
        ),
        evidence=tuple(_evidence(case, killing)),
        subject=victim.key,
        at_ns=event.time_boottime_ns,
    )


def _evidence(case: Case, killing: Killing) -> list[Evidence]:
    victim, event = killing.victim, killing.event
    text = f"{sender_text(event)} ended {victim.who}."
    evidence = [
        supports("kill.supervisor.sent_signal", STRONG - SLIGHT, text, signal_facts(victim, event))
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
        evidence.append(contradicts("kill.supervisor.ended_a_hang", CLEAR, text, facts(*waits[:2])))
    group = [
        a
        for a, e in killing.group
        if abs(e.time_boottime_ns - event.time_boottime_ns) < TOGETHER_NS
    ]
    if len(group) > 2:
        text = f"The same sender signalled {len(group)} of its processes at once."
        evidence.append(
            contradicts(
                "kill.supervisor.group_at_once",
                SLIGHT,
                text,
                facts(*(e for _, e in killing.group[:4])),
            )
        )
    sender = case.get(event.sender)
    pool = case.pool_of(sender) if sender is not None else []
    if sender is not None and victim in pool:
        workers = f"{len(pool)} workers of {sender.who}"
        text = f"{workers} ended within a second before it {sender.end.words}."
        evidence.append(contradicts("kill.supervisor.own_pool", CLEAR, text, ends(sender)))
    if event.sender_comm == "timeout":
        evidence.append(
            contradicts(
                "kill.supervisor.time_limit", SOME, "The sender is a time limit.", [fact(event)]
            )
        )
    return evidence


CARD = cause_class(
    name="kill.supervisor",
    title="another process ended it with a signal",
    predicts="a signal of another process that ended it",
    rivals="mem.cgroup_oom kill.drain kill.timeout_orphan kill.heartbeat mem.userspace_killer",
    finding=sc.EVENT_PROCESS_KILLED,
    tag="ask_the_sender",
    fix=(
        "Find out why the sender sent the signal. The process itself did not fail, "
        "and more memory would not help."
    ),
    brings=(
        to("fs.truncated", Via.SAME),
        to("kill.namespace_init", Via.SIGNAL),
        to("net.reset_short", Via.CONNECTION_ENDS),
        to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
    ),
    absence=no_sender,
    find=(supervisors,),
)
