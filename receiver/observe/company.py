"""Who was in the memory that was full when the OOM killer chose its victim."""

from __future__ import annotations

from receiver.events import OomKill, OomMember
from receiver.facts.neighbours import WINDOW_NS, Competitor
from receiver.facts.usage import Point, Usage, resident
from receiver.work.tables import Facts
from receiver.work.worker import Tree, Worker

KEPT_COMPANY = 16


def company(tree: Tree, facts: Facts, victim: Worker, event: OomKill) -> tuple[Competitor, ...]:
    """The processes in the full memory, the victim first.

    Where the kernel half looked at once, they are the members that it named, the largest first.
    Else they are those of the last samples, the one that grew most first.
    """
    since = _since(victim, event)
    sampled = _sampled(tree, facts, victim, event, since)
    members = facts.deaths.of(victim.key).members
    if not members:
        me = next((t for t in sampled if t.key == victim.key), None) or _victim(
            facts, victim, event, since
        )
        others = sorted(
            (t for t in sampled if t.key != victim.key), key=lambda t: (-t.growth_bytes, t.pid)
        )
        return (me, *others[:KEPT_COMPANY])
    known = {t.key: t for t in sampled}
    found = [_member(tree, known.get(m.process), m, victim, since) for m in members]
    me = next((t for t in found if t.key == victim.key), None) or _victim(
        facts, victim, event, since
    )
    others = sorted((t for t in found if t.key != victim.key), key=lambda t: (-t.rss_bytes, t.pid))
    return (me, *others[:KEPT_COMPANY])


def _since(victim: Worker, event: OomKill) -> int:
    """Since when a growth counts: for a minute, and not before the victim's work began."""
    execution = victim.execution
    began = execution.outermost.root.key.start_boottime_ns if execution is not None else 0
    return max(began, event.time_boottime_ns - WINDOW_NS)


def _victim(facts: Facts, victim: Worker, event: OomKill, since_ns: int) -> Competitor:
    rss = event.anon_rss_bytes + event.file_rss_bytes + event.shmem_rss_bytes
    usage = facts.usage.of(victim.key)
    points = tuple(usage.curve.points) if usage is not None else ()
    return Competitor(
        pid=victim.key.tgid,
        name=victim.name,
        growth_bytes=rss - _at(points, since_ns),
        cpu_ns=0,
        key=victim.key,
        rss_bytes=rss,
        points=points,
        own=True,
    )


def _sampled(
    tree: Tree, facts: Facts, victim: Worker, event: OomKill, since_ns: int
) -> list[Competitor]:
    """The processes whose samples show them in that memory, the victim included."""
    own = facts.usage.last(victim.key)
    group = own.memory_cgroup_id if own is not None else event.memory_cgroup_id
    found = facts.neighbours.all(
        event.time_boottime_ns, memory_cgroup_id=group if event.limit_bytes else 0
    )
    for process in tree.processes():
        usage = facts.usage.of(process.key)
        if process is victim or usage is None or usage.last is None or process.exit is not None:
            continue
        if usage.last.memory_cgroup_id == group or not event.limit_bytes:
            found.append(_taker(process, usage, since_ns, own=_together(process, victim)))
    return [*found, _victim(facts, victim, event, since_ns)]


def _member(
    tree: Tree, sampled: Competitor | None, member: OomMember, victim: Worker, since_ns: int
) -> Competitor:
    """One that the kernel half named, with what was known of it before."""
    held = member.anon_bytes + member.shmem_bytes
    process = tree.get(member.process)
    began_later = member.process.start_boottime_ns >= since_ns
    points = sampled.points if sampled is not None else ()
    before = 0 if began_later else _at(points, since_ns, first=True)
    return Competitor(
        pid=member.process.tgid,
        name=process.name if process is not None and process.name else member.comm,
        growth_bytes=max(0, held - before) if began_later or points else 0,
        cpu_ns=0,
        key=member.process,
        rss_bytes=held,
        points=points,
        own=process is victim or (process is not None and _together(process, victim)),
        member=member,
        growth_known=began_later or bool(points),
    )


def _taker(process: Worker, usage: Usage, since_ns: int, *, own: bool) -> Competitor:
    points = tuple(usage.curve.points)
    now = resident(usage.last) if usage.last is not None else 0
    return Competitor(
        pid=process.key.tgid,
        name=process.name,
        growth_bytes=now - _at(points, since_ns),
        cpu_ns=0,
        key=process.key,
        rss_bytes=now,
        points=points,
        own=own,
    )


def _at(points: tuple[Point, ...], at_ns: int, *, first: bool = False) -> int:
    """The memory that it held at that time; before its first sample 0, or that of the first."""
    before = points[0][1] if first and points else 0
    return next((value for when, value, _ in reversed(points) if when <= at_ns), before)


def _together(one: Worker, other: Worker) -> bool:
    return one.execution is not None and one.execution.is_part_of(other.execution)
