"""Other processes in the memory cgroup of a victim, as rivals of its own growth."""

from __future__ import annotations

from receiver.facts.neighbours import Competitor
from receiver.investigate.case import Case
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    Candidate,
    Culprit,
    Evidence,
    Fact,
    context,
    contradicts,
    fact,
    fact_of_point,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.names import mib


def rival(other: Competitor, share: float) -> Evidence:
    """Returns what the next largest process says against, or about, a share of the growth."""
    if share < 0.5:
        text = f"{other.name} ({other.pid}) grew by {mib(other.growth_bytes)}, which is more."
        return contradicts("mem.cgroup_oom.other_grew_more", CLEAR, text, shown_by(other))
    if not other.growth_known:
        text = (
            f"{other.name} ({other.pid}), in the same memory cgroup, held {mib(other.rss_bytes)}."
        )
        return context("mem.oom.other_held", text, shown_by(other))
    text = (
        f"{other.name} ({other.pid}), in the same memory cgroup, held {mib(other.rss_bytes)} and "
        f"grew by {mib(other.growth_bytes)}."
    )
    return context("mem.oom.other_held_and_grew", text, shown_by(other))


def larger_rival(other: Competitor, held_part: float) -> Evidence:
    """Returns what speaks against the victim where another process held more."""
    text = f"{other.name} ({other.pid}) held {mib(other.rss_bytes)}, {1 - held_part:.0%} of both."
    return contradicts("mem.cgroup_oom.other_held_more", CLEAR, text, shown_by(other))


def shown_by(other: Competitor) -> list[Fact]:
    """Returns the samples of its growth, and what it held in the end."""
    end = [fact(other.member)] if other.member is not None else []
    return [*latest_points(other), *end]


def latest_points(competitor: Competitor) -> list[Fact]:
    return [fact_of_point(competitor.pid, competitor.name, p) for p in competitor.points[-3:]]


def neighbour(
    victim: ProcessSnapshot, other: Competitor, share: float, base: list[Evidence]
) -> Candidate:
    event = victim.oom
    assert event is not None
    text = (
        f"{other.name} ({other.pid}) grew by {mib(other.growth_bytes)} in the same memory "
        f"cgroup, which is {1 - share:.0%} of all growth."
    )
    weight = CLEAR + SLIGHT if share < 0.35 else SOME if share < 0.5 else -SOME
    mine = (
        supports("mem.cgroup_neighbour.grew", weight, text, shown_by(other))
        if weight > 0
        else contradicts("mem.cgroup_neighbour.grew_less", SOME, text, shown_by(other))
    )
    start = other.key.start_boottime_ns if other.key is not None else 0
    return Candidate(
        cause="mem.cgroup_neighbour",
        culprit=Culprit(type="process", name=other.name, pid=other.pid, start_boottime_ns=start),
        summary=(
            f"{other.name} ({other.pid}) filled the memory cgroup that it shares with "
            f"{victim.who} ({event.memory_cgroup}, {mib(event.limit_bytes)}); the OOM "
            f"killer killed {victim.name}."
        ),
        remedy=_apart(victim, other),
        evidence=(*base, mine),
        subject=victim.key,
        at_ns=event.time_boottime_ns,
    )


def _apart(victim: ProcessSnapshot, other: Competitor) -> str:
    group = victim.oom.memory_cgroup if victim.oom is not None else ""
    return (
        f"Move {other.name} ({other.pid}), which held {mib(other.rss_bytes)}, out of "
        f"{group or 'this memory cgroup'}, or limit it. {victim.who} needs no more memory than "
        "before."
    )


def _held(case: Case, victim: ProcessSnapshot) -> int:
    """Returns what the victim and its relatives held."""
    return sum(
        max(0, t.rss_bytes)
        for t in victim.cgroup_processes
        if t.key == victim.key
        or ((actor := case.get(t.key)) is not None and case.related(actor, victim))
    )


def larger_neighbour(case: Case, victim: ProcessSnapshot) -> Competitor | None:
    """Returns an unrelated process that held more than the victim and its relatives together, and
    half of the limit: it need not have grown.
    """
    event, own = victim.oom, _held(case, victim)
    others = [
        t
        for t in victim.cgroup_processes[1:]
        if t.member is not None
        and not ((actor := case.get(t.key)) is not None and case.related(actor, victim))
    ]
    most = max(others, key=lambda t: (t.rss_bytes, -t.pid), default=None)
    if event is None or most is None or most.rss_bytes <= max(own, event.limit_bytes // 2):
        return None
    return most


def held_share(case: Case, victim: ProcessSnapshot, larger: Competitor | None) -> float:
    own = _held(case, victim)
    return own / max(1, own + larger.rss_bytes) if larger is not None else 1.0


def large_neighbour(
    victim: ProcessSnapshot, other: Competitor, share: float, base: list[Evidence]
) -> Candidate:
    event = victim.oom
    assert event is not None
    assert other.member is not None
    text = (
        f"{other.name} ({other.pid}) held {mib(other.rss_bytes)} of the {mib(event.limit_bytes)}, "
        f"which is {1 - share:.0%} of what it and {victim.who} held."
    )
    start = other.key.start_boottime_ns if other.key is not None else 0
    return Candidate(
        cause="mem.cgroup_neighbour",
        culprit=Culprit(type="process", name=other.name, pid=other.pid, start_boottime_ns=start),
        summary=(
            f"{other.name} ({other.pid}) held {mib(other.rss_bytes)} of the memory cgroup that it "
            f"shares with {victim.who} ({event.memory_cgroup}, {mib(event.limit_bytes)}); what "
            f"{victim.name} needed did not fit beside it, and the OOM killer killed {victim.name}."
        ),
        remedy=_apart(victim, other),
        evidence=(
            *base,
            supports(
                "mem.cgroup_neighbour.held", CLEAR + SLIGHT, text, [fact(other.member), fact(event)]
            ),
        ),
        subject=victim.key,
        at_ns=event.time_boottime_ns,
    )
