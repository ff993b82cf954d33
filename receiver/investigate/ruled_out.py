"""Says for each rival of a conclusion which fact decides against it, or which trace is missing."""

from __future__ import annotations

from collections.abc import Iterable

from receiver.investigate.case import Case
from receiver.investigate.classes import CLASSES
from receiver.investigate.engine import Explanation
from receiver.investigate.evidence import Candidate, Evidence, Fact, ends, missing
from receiver.text.names import mib


def rule_out(
    case: Case, incident: Explanation, considered: Iterable[Candidate]
) -> list[tuple[str, Evidence]]:
    """Returns the fact that decides against each rival, or names the missing trace of the rival.

    A rival that the lead brought about is a part of the same incident.
    """
    lead = incident.ranked[0].candidate
    parts = {s.effect.cause: s for s in reversed(incident.steps)}
    by_cause = {s.cause: s for s in sorted(considered, key=lambda s: s.score)}
    out: list[tuple[str, Evidence]] = []
    for rival in CLASSES[lead.cause].rivals:
        known = by_cause.get(rival)
        against = [e for e in known.evidence if e.weight < 0] if known is not None else []
        worst = min(against, key=lambda e: e.weight, default=None)
        if worst is None and (step := parts.get(rival)) is not None:
            text = f"It is a part of the same incident. {step.tie.text}"
            shown = step.tie.facts or lead.evidence[0].facts
            out.append((rival, Evidence("contradicts", 0.0, text, shown)))
        elif known is not None:
            text = (
                worst.text
                if worst is not None
                else f"Its evidence is weaker: {known.score:.1f} against {lead.score:.1f}."
            )
            out.append(
                (rival, Evidence("contradicts", 0.0, text, (worst or lead.evidence[0]).facts))
            )
        elif rival in CLASSES:
            out.append((rival, missing(0.0, _absence(case, rival, lead), _witnesses(case, lead))))
        else:
            out.append(
                (rival, Evidence("contradicts", 0.0, lead.evidence[0].text, lead.evidence[0].facts))
            )
    return out


def _absence(case: Case, rival: str, lead: Candidate) -> str:
    decides = _DECIDES.get(rival)
    if decides is not None and (found := decides(case, lead)):
        return found
    return f"No event shows {CLASSES[rival].predicts}."


def _witnesses(case: Case, lead: Candidate) -> tuple[Fact, ...]:
    subject = case.get(lead.subject)
    found = ends(subject) if subject is not None else ()
    return found or lead.evidence[0].facts


def _no_oom(case: Case, _: Candidate) -> str:
    return (
        ""
        if any(a.oom is not None for a in case)
        else "The kernel's OOM killer chose none of its processes (no mark_victim)."
    )


def _no_sender(case: Case, lead: Candidate) -> str:
    subject = case.get(lead.subject)
    if subject is None or subject.exit is None:
        return ""
    sent = [s for s in subject.signals if s.code <= 0 and s.sender != subject.key]
    return "" if sent else f"No process sent a signal to {subject.who}."


def _cgroup_not_host(case: Case, lead: Candidate) -> str:
    subject = case.get(lead.subject)
    event = subject.oom if subject is not None else None
    return (
        f"The cgroup {event.memory_cgroup} was at its limit, not the host."
        if event is not None and event.limit_bytes
        else ""
    )


def _own_growth(case: Case, lead: Candidate) -> str:
    subject = case.get(lead.subject)
    if subject is None or subject.oom is None or not subject.cgroup_processes:
        return _no_oom(case, lead)
    me, *others = subject.cgroup_processes
    most = next((t for t in others if not t.own), None)
    if most is None:
        return "No sample shows another process in that memory cgroup."
    grew = f" and grew by {mib(most.growth_bytes)}" if most.growth_known else ""
    return (
        f"{most.name} ({most.pid}), the next in that memory cgroup, held {mib(most.rss_bytes)}"
        f"{grew}; {me.name} held {mib(me.rss_bytes)}."
    )


_DECIDES = {
    "mem.cgroup_oom": _no_oom,
    "mem.cgroup_neighbour": _own_growth,
    "mem.child_oom": _no_oom,
    "mem.host_oom": _cgroup_not_host,
    "kill.supervisor": _no_sender,
    "mem.userspace_killer": _no_sender,
    "kill.drain": _no_sender,
}
