"""Sentences that decide against a rival for which nothing speaks, better than its prediction does.

Each is empty where the facts do not allow it.
"""

from __future__ import annotations

from receiver.investigate.case import Case
from receiver.investigate.coverage import why_unseen
from receiver.investigate.evidence import Candidate
from receiver.text.names import mib


def no_oom(case: Case, _: Candidate) -> str:
    if any(a.oom is not None for a in case) or why_unseen(case, ("oom_kill",), None):
        return ""
    return "The kernel's OOM killer chose none of its processes (no mark_victim)."


def no_sender(case: Case, lead: Candidate) -> str:
    subject = case.get(lead.subject)
    if subject is None or subject.exit is None or why_unseen(case, ("signal",), None):
        return ""
    sent = [s for s in subject.signals if s.code <= 0 and s.sender != subject.key]
    return "" if sent else f"No process sent a signal to {subject.who}."


def cgroup_not_host(case: Case, lead: Candidate) -> str:
    subject = case.get(lead.subject)
    event = subject.oom if subject is not None else None
    return (
        f"The cgroup {event.memory_cgroup} was at its limit, not the host."
        if event is not None and event.limit_bytes
        else ""
    )


def own_growth(case: Case, lead: Candidate) -> str:
    subject = case.get(lead.subject)
    if subject is None or subject.oom is None or not subject.cgroup_processes:
        return no_oom(case, lead)
    me, *others = subject.cgroup_processes
    most = next((t for t in others if not t.own), None)
    if most is None:
        if why_unseen(case, ("oom_member",), None):
            return ""
        return "No sample shows another process in that memory cgroup."
    grew = f" and grew by {mib(most.growth_bytes)}" if most.growth_known else ""
    return (
        f"{most.name} ({most.pid}), the next in that memory cgroup, held {mib(most.rss_bytes)}"
        f"{grew}; {me.name} held {mib(me.rss_bytes)}."
    )
