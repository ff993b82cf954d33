"""OOM kills: in a cgroup, by a neighbour, on the whole host, or of a worker."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.events import OomScope
from receiver.facts.neighbours import Competitor
from receiver.investigate.case import Case
from receiver.investigate.causes.common import partition_share
from receiver.investigate.causes.memory import on_processes
from receiver.investigate.causes.oom_child import as_child, killed_by_kernel
from receiver.investigate.causes.oom_fix import larger_limit
from receiver.investigate.causes.oom_neighbours import (
    held_share,
    large_neighbour,
    larger_neighbour,
    larger_rival,
    latest_points,
    neighbour,
    rival,
)
from receiver.investigate.causes.oom_shares import (
    Shares,
    held_text,
    shares_evidence,
    shares_of,
)
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
    fact_of_point,
    facts,
    facts_of_use,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.names import mib


def oom_kills(case: Case) -> Iterator[Candidate]:
    """Yields candidates for each OOM kill, one per explanation of the growth.

    The growth may be its own, a neighbour's, the host's or a tmpfs's.
    """
    for victim in case:
        event = victim.oom
        if event is None:
            continue
        if event.scope == OomScope.HOST:
            yield _host(case, victim)
            continue
        child = as_child(case, victim)
        if child is not None:
            yield child
        yield from _in_cgroup(case, victim, has_child_candidate=child is not None)


def _in_cgroup(
    case: Case, victim: ProcessSnapshot, *, has_child_candidate: bool
) -> Iterator[Candidate]:
    event = victim.oom
    assert event is not None
    own, other, family = _growths(case, victim)
    rss = event.anon_rss_bytes + event.file_rss_bytes + event.shmem_rss_bytes
    held = sum(max(0, t.rss_bytes) for t in victim.cgroup_processes) or rss
    shares = shares_of(case, victim)
    base = [
        *killed_by_kernel(victim),
        *shares_evidence(victim, shares),
        *partition_share(case, victim),
    ]
    if _is_mostly_shared(victim, shares, max(held, rss)):
        yield _tmpfs(case, victim, base, shares, held)
    share = own / max(1, own + max(0, other.growth_bytes if other is not None else 0))
    larger = larger_neighbour(case, victim)
    held_part = held_share(case, victim, larger)
    mine = [_grew(victim, own, share, family)]
    if larger is not None and held_part < share:
        mine.append(larger_rival(larger, held_part))
        yield large_neighbour(victim, larger, held_part, base)
    elif other is not None:
        mine.append(rival(other, share))
        if other.growth_bytes > event.limit_bytes * 0.1:
            yield neighbour(victim, other, share, base)
    if has_child_candidate:
        text = "Its parent continued without it and later reported a different error."
        mine.append(contradicts("mem.cgroup_oom.parent_went_on", SOME, text, ends(victim)))
    where = f"{event.memory_cgroup or 'its cgroup'} ({mib(event.limit_bytes)})"
    yield Candidate(
        cause="mem.cgroup_oom",
        culprit=process_culprit(victim),
        summary=f"The OOM killer killed {victim.who} at the limit of {where}"
        + on_processes(victim)
        + f": {held_text(victim, shares) or f'it held {mib(max(rss, 0))}'}.",
        remedy=larger_limit(victim, shares),
        evidence=(*base, *mine),
        subject=victim.key,
        at_ns=event.time_boottime_ns,
    )


def _grew(victim: ProcessSnapshot, own: int, share: float, family: int) -> Evidence:
    """Returns what the growth of the victim and its relatives says."""
    names = f"{victim.who}" if family < 2 else f"{family} processes of {victim.name}"
    points = victim.cgroup_processes[0].points if victim.cgroup_processes else ()
    curve = [fact_of_point(victim.pid, victim.name, p) for p in points][-4:]
    text = (
        f"{names} grew by {mib(own)}, which is {share:.0%} of all growth that was seen in that "
        "memory cgroup."
    )
    weight = CLEAR if share >= 0.8 else SOME if share >= 0.5 else SLIGHT
    return supports("mem.cgroup_oom.grew", weight, text, [*facts(victim.oom), *curve])


def _growths(case: Case, victim: ProcessSnapshot) -> tuple[int, Competitor | None, int]:
    """Returns the growth in bytes of the victim's family, its largest rival and the family's size.

    The family are related processes in the same memory. The rival is the other process that grew
    most.
    """
    own, family = 0, 0
    others: list[Competitor] = []
    for competitor in victim.cgroup_processes:
        actor = case.get(competitor.key)
        if competitor is victim.cgroup_processes[0] or (
            actor is not None and case.related(actor, victim)
        ):
            own += max(0, competitor.growth_bytes)
            family += 1
        else:
            others.append(competitor)
    # The growth of a related process that was killed earlier in the same memory cgroup counts,
    # too.
    return own, max(others, key=lambda t: (t.growth_bytes, -t.pid), default=None), family


def _host(case: Case, victim: ProcessSnapshot) -> Candidate:
    event = victim.oom
    assert event is not None
    _, other, _ = _growths(case, victim)
    me = victim.cgroup_processes[0] if victim.cgroup_processes else None
    competitor = (
        other
        if other is not None and me is not None and other.growth_bytes > me.growth_bytes
        else None
    )
    start = (
        competitor.key.start_boottime_ns
        if competitor is not None and competitor.key is not None
        else 0
    )
    culprit = (
        Culprit(type="process", name=competitor.name, pid=competitor.pid, start_boottime_ns=start)
        if competitor is not None
        else process_culprit(victim)
    )
    more = []
    if competitor is not None:
        text, shown = f"{competitor.name} ({competitor.pid}) grew most.", latest_points(competitor)
        more = [supports("mem.host_oom.competitor_grew", SLIGHT, text, shown)]
    summary = f"The host ran out of memory, and the OOM killer killed {victim.who}."
    text = "No cgroup was at its limit: the host itself had no free memory."
    evidence = (
        *killed_by_kernel(victim),
        *shares_evidence(victim, shares_of(case, victim)),
        supports("mem.host_oom.no_cgroup_full", SOME, text, [fact(event)]),
        *more,
    )
    return Candidate(
        cause="mem.host_oom",
        culprit=culprit,
        summary=summary,
        evidence=evidence,
        subject=victim.key,
        at_ns=event.time_boottime_ns,
    )


def _is_mostly_shared(victim: ProcessSnapshot, shares: Shares | None, held: int) -> bool:
    """Whether most of the memory was no process's own."""
    event = victim.oom
    if event is None or not event.limit_bytes:
        return False
    if shares is not None and shares.shared_bytes:
        return shares.shared_bytes > event.usage_bytes * 0.5
    return held < event.usage_bytes * 0.4


def _tmpfs(
    case: Case, victim: ProcessSnapshot, base: list[Evidence], shares: Shares | None, held: int
) -> Candidate:
    """Returns a candidate for files in a tmpfs.

    They are charged to the cgroup of their writer, but no process holds that memory.
    """
    event = victim.oom
    assert event is not None
    writes = [u for a in case for u in a.uses if u.writing and u.written_bytes]
    biggest = max(writes, key=lambda u: (u.written_bytes, u.path), default=None)
    text = (
        f"The processes that were seen in it held {mib(held)} of {mib(event.usage_bytes)}; files "
        "in a tmpfs can hold the rest."
    )
    if shares is not None and shares.shared_bytes:
        text = (
            f"Shared memory and files in a tmpfs held {mib(shares.shared_bytes)} of "
            f"{mib(event.usage_bytes)}; its processes held {mib(shares.memory.anon_bytes)}."
        )
    known = shares is not None and shares.shared_bytes > 0
    shown = [fact(shares.memory)] if shares is not None else [fact(event)]
    evidence = [
        *base,
        supports("mem.shm_full.held_shared", STRONG if known else CLEAR, text, shown),
    ]
    culprit = Culprit(type="cgroup", cgroup=event.memory_cgroup)
    if biggest is not None and biggest.written_bytes > event.usage_bytes * 0.2:
        about = f"{mib(biggest.written_bytes)} were written to {biggest.path}."
        evidence.append(supports("mem.shm_full.largest_file", SOME, about, facts_of_use(biggest)))
        culprit = Culprit(
            type="file", path=biggest.path, inode=biggest.key[1], device=biggest.key[0]
        )
    return Candidate(
        cause="mem.shm_full",
        culprit=culprit,
        summary=(
            f"Files in memory filled {event.memory_cgroup or 'the cgroup'}; the OOM killer "
            f"killed {victim.who}."
        ),
        evidence=tuple(evidence),
        subject=victim.key,
        at_ns=event.time_boottime_ns,
    )
