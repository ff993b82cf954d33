"""Causes in memory: which process used it, and which limit was reached."""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterator

from receiver.detect.deaths import fatal_of
from receiver.events import CallKind, OomScope
from receiver.facts.usage import Competitor
from receiver.investigate.case import Case, ProcessSnapshot
from receiver.investigate.causes.common import died_of, partition_share, progress, shells
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    STRONG,
    Candidate,
    Culprit,
    Evidence,
    Fact,
    context,
    contradicts,
    ends,
    fact,
    fact_of_point,
    facts,
    facts_of_use,
    process_culprit,
    supports,
)
from receiver.text.names import error_name, mib, times

_NEAR = 0.85  # of a limit: memory above this share is close to it
_PLATEAU = 0.05
# SparkExitCode.OOM, ExitOnOutOfMemoryError, and a heartbeat failure.
_HEAP_EXITS = {
    52: CLEAR + SOME,
    3: CLEAR,
    56: SLIGHT,
}
_GUARDS = ("earlyoom", "oomd", "nohang", "memwatch", "memory_guard", "memguard", "bustd")
_SHARED = ("/dev/shm/", "/run/shm/")  # noqa: S108 (names to look for, nothing is written there)
SIGBUS_ADDRESS = 2  # BUS_ADRERR, sigaction(2)
_GUARDED_GROWTH = 0.3  # of its peak, within its last samples
SECOND = 1_000_000_000


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
        child = _as_child(case, victim)
        if child is not None:
            yield child
        yield from _in_cgroup(case, victim, has_child_candidate=child is not None)


def _killed_by_kernel(victim: ProcessSnapshot) -> list[Evidence]:
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
            STRONG, text, [fact(event), *facts(fatal_of(victim.signals, victim.key, victim.end))]
        )
    ]
    if event.trigger != event.victim:
        who = f"{event.trigger_comm} ({event.trigger.tgid})"
        out.append(
            context(
                (f"The allocation that failed was {who}'s. This does not show which process grew."),
                [fact(event)],
            )
        )
    return out


def _in_cgroup(
    case: Case, victim: ProcessSnapshot, *, has_child_candidate: bool
) -> Iterator[Candidate]:
    event = victim.oom
    assert event is not None
    own, other, family = _growths(case, victim)
    rss = event.anon_rss_bytes + event.file_rss_bytes + event.shmem_rss_bytes
    held = sum(max(0, t.rss_bytes) for t in victim.company) or rss
    base = _killed_by_kernel(victim)
    base += partition_share(case, victim)
    if event.limit_bytes and held < event.usage_bytes * 0.4 and rss < event.usage_bytes * 0.4:
        yield _tmpfs(case, victim, base, held)
    total = max(1, own + max(0, other.growth_bytes if other is not None else 0))
    share = own / total
    curve = [
        fact_of_point(victim.pid, victim.name, p)
        for p in (victim.company[0].points if victim.company else ())
    ][-4:]
    names = f"{victim.who}" if family < 2 else f"{family} processes of {victim.name}"
    mine = [
        supports(
            CLEAR if share >= 0.8 else SOME if share >= 0.5 else SLIGHT,
            (
                f"{names} grew by {mib(own)}, which is {share:.0%} of all growth in that "
                "memory cgroup."
            ),
            [fact(event), *curve],
        )
    ]
    if other is not None and share < 0.5:
        mine.append(
            contradicts(
                CLEAR,
                f"{other.name} ({other.pid}) grew by {mib(other.growth_bytes)}, which is more.",
                _latest_points(other),
            )
        )
    elif other is not None:
        about = (
            f"{other.name} ({other.pid}), in the same memory cgroup, held "
            f"{mib(other.rss_bytes)} and grew by {mib(other.growth_bytes)}"
        )
        mine.append(context(about + ".", _latest_points(other)))
    if has_child_candidate:
        mine.append(
            contradicts(
                SOME,
                "Its parent continued without it and later reported a different error.",
                ends(victim),
            )
        )
    yield Candidate(
        cause="mem.cgroup_oom",
        culprit=process_culprit(victim),
        summary=(
            f"The OOM killer killed {victim.who}: its own memory of {mib(max(rss, 0))} "
            f"reached the limit of {event.memory_cgroup or 'its cgroup'} "
            f"({mib(event.limit_bytes)})"
        )
        + _on(victim)
        + ".",
        evidence=(*base, *mine),
        subject=victim.key,
        at_ns=event.time_boottime_ns,
    )
    if other is not None and other.growth_bytes > event.limit_bytes * 0.1:
        yield _neighbour(victim, other, share, base)


def _on(victim: ProcessSnapshot) -> str:
    return f" while it worked on {victim.partition}" if victim.partition else ""


def _growths(case: Case, victim: ProcessSnapshot) -> tuple[int, Competitor | None, int]:
    """Returns the growth in bytes of the victim's family, its largest rival and the family's size.

    The family are related processes in the same memory. The rival is the other process that grew
    most.
    """
    own, family = 0, 0
    others: list[Competitor] = []
    for competitor in victim.company:
        actor = case.get(competitor.key)
        if competitor is victim.company[0] or (actor is not None and case.related(actor, victim)):
            own += max(0, competitor.growth_bytes)
            family += 1
        else:
            others.append(competitor)
    # The growth of a related process that was killed earlier in the same memory cgroup counts,
    # too.
    return own, max(others, key=lambda t: (t.growth_bytes, -t.pid), default=None), family


def _latest_points(competitor: Competitor) -> list[Fact]:
    return [fact_of_point(competitor.pid, competitor.name, p) for p in competitor.points[-3:]]


def _neighbour(
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
        supports(weight, text, _latest_points(other))
        if weight > 0
        else contradicts(SOME, text, _latest_points(other))
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
        evidence=(*base, mine),
        subject=victim.key,
        at_ns=event.time_boottime_ns,
    )


def _host(case: Case, victim: ProcessSnapshot) -> Candidate:
    event = victim.oom
    assert event is not None
    _, other, _ = _growths(case, victim)
    me = victim.company[0] if victim.company else None
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
    more = (
        [
            supports(
                SLIGHT,
                f"{competitor.name} ({competitor.pid}) grew most.",
                _latest_points(competitor),
            )
        ]
        if competitor is not None
        else []
    )
    summary = f"The host ran out of memory, and the OOM killer killed {victim.who}."
    evidence = (
        *_killed_by_kernel(victim),
        supports(
            SOME, "No cgroup was at its limit: the host itself had no free memory.", [fact(event)]
        ),
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


def _tmpfs(case: Case, victim: ProcessSnapshot, base: list[Evidence], held: int) -> Candidate:
    """Returns a candidate for files in a tmpfs.

    They are charged to the cgroup of their writer, but no process holds that memory.
    """
    event = victim.oom
    assert event is not None
    writes = [u for a in case for u in a.uses if u.writing and u.written_bytes]
    biggest = max(writes, key=lambda u: (u.written_bytes, u.path), default=None)
    text = (
        f"All its processes held {mib(held)} of {mib(event.usage_bytes)}; files in a tmpfs "
        "hold the rest."
    )
    evidence = [*base, supports(CLEAR, text, [fact(event)])]
    culprit = Culprit(type="cgroup", cgroup=event.memory_cgroup)
    if biggest is not None and biggest.written_bytes > event.usage_bytes * 0.2:
        about = f"{mib(biggest.written_bytes)} were written to {biggest.path}."
        evidence.append(supports(SOME, about, facts_of_use(biggest)))
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


def _as_child(case: Case, victim: ProcessSnapshot) -> Candidate | None:
    """Returns a candidate if the parent continued and later failed or hung in another way.

    The parent must be a program of its own, not a shell.
    """
    event, parent = victim.oom, case.get(victim.parent)
    if (
        event is None
        or parent is None
        or parent.oom is not None
        or shells(parent)
        or "spark" in victim.role
        or "spark" in parent.role
    ):
        return None
    worker = (
        not victim.execs
        or "multiprocessing" in " ".join(victim.argv)
        or (victim.executable, victim.script) == (parent.executable, parent.script)
    )
    served = {p.last.local_port for p in victim.peers if p.last is not None}
    broken = [p for p in parent.peers if p.endpoint[1] in served]
    hung = (
        parent.usage is not None
        and parent.usage.spell is not None
        and parent.usage.spell.ns > 3 * SECOND
    )
    other_end = (
        parent.exit is None
        or not (parent.end.code == 137 or parent.end.signal == signal.SIGKILL)
        or hung
    )
    if not other_end or not (worker or broken or hung):
        return None
    evidence = _killed_by_kernel(victim)
    if worker:
        text = (
            f"It was a worker that {parent.who} had forked, and nothing reported its death "
            "to the parent."
        )
        evidence.append(supports(CLEAR, text, [*ends(victim), *ends(parent)]))
    for peer in broken[:1]:
        text = (
            f"After that the connection of {parent.who} to "
            f"{peer.endpoint[0]}:{peer.endpoint[1]} broke."
        )
        evidence.append(supports(SOME + SLIGHT, text, facts(*(peer.moments[-2:] or (peer.last,)))))
    if hung and parent.usage is not None and parent.usage.spell is not None:
        spell = parent.usage.spell
        text = f"{parent.who} was then inactive for {spell.ns / 1e9:.0f} s."
        evidence.append(supports(SOME, text, facts(*spell.waits[:2])))
    tells = f"its parent {parent.who} " + ("hung" if hung else f"{parent.end.words}")
    return Candidate(
        cause="mem.child_oom",
        culprit=process_culprit(victim),
        summary=(
            f"The OOM killer killed {victim.who} at the limit of "
            f"{event.memory_cgroup or 'its cgroup'} ({mib(event.limit_bytes)}); {tells}."
        ),
        evidence=tuple(evidence),
        subject=victim.key,
        at_ns=event.time_boottime_ns,
    )


def guards(case: Case) -> Iterator[Candidate]:
    """Finds a SIGKILL by another process while the victim's memory was high or growing.

    A known memory guard may send SIGTERM.
    """
    for victim in case:
        event = died_of(victim)
        if (
            event is None
            or event.code > 0
            or event.sender == victim.key
            or event.signal not in (signal.SIGKILL, signal.SIGTERM)
        ):
            continue
        evidence = [
            supports(
                SOME,
                (f"{event.sender_comm} ({event.sender.tgid}) sent the signal; the kernel did not."),
                [fact(event)],
            )
        ]
        points = victim.usage.curve.points if victim.usage is not None else []
        recent = [p for p in points if event.time_boottime_ns - p[0] < 20 * SECOND]
        grown = (recent[-1][1] - recent[0][1]) if len(recent) > 1 else 0
        is_guard = any(g in event.sender_comm for g in _GUARDS)
        if is_guard:
            evidence.append(
                supports(
                    CLEAR, (f"{event.sender_comm} is a known user-space OOM killer."), [fact(event)]
                )
            )
        torn = [u for u in victim.uses if u.written_bytes > grown // 8 and u.state != "complete"]
        if not is_guard and (event.signal != signal.SIGKILL or torn):
            # A sender of SIGTERM, or one that kills a process while it writes its output, is no
            # memory guard: the memory of every process grows at its start.
            continue
        if grown > max(32 << 20, _GUARDED_GROWTH * victim.peak_bytes):
            text = (
                f"{victim.who} had grown by {mib(grown)} to {mib(recent[-1][1])} when the "
                "signal came."
            )
            shown = [fact_of_point(victim.pid, victim.name, p) for p in recent[-4:]]
            evidence.append(supports(CLEAR if len(recent) > 2 else SOME, text, shown))
        elif not is_guard:
            continue
        sender = case.by_pid(event.sender.tgid, event.time_boottime_ns)
        reads = [
            u
            for u in (sender.uses if sender is not None else ())
            if "memory" in u.path or "meminfo" in u.path
        ]
        if reads:
            evidence.append(
                supports(SOME, f"The sender reads {reads[0].path}.", facts_of_use(reads[0]))
            )
        yield Candidate(
            cause="mem.userspace_killer",
            culprit=Culprit(
                type="process",
                name=event.sender_comm,
                pid=event.sender.tgid,
                start_boottime_ns=event.sender.start_boottime_ns,
            ),
            summary=(
                f"{event.sender_comm} ({event.sender.tgid}) killed {victim.who} when its "
                f"memory was {mib(victim.peak_bytes)}."
            ),
            evidence=tuple(evidence),
            subject=victim.key,
            at_ns=event.time_boottime_ns,
        )


def heaps(case: Case) -> Iterator[Candidate]:
    """Finds programs that exited by themselves at a plateau of memory.

    Their cgroup still had room.
    """
    for actor in case:
        if not actor.failed or actor.end.signal or actor.oom is not None:
            continue
        java = actor.name == "java"
        dump = next((u for u in actor.uses if u.path.endswith(".hprof") and u.writing), None)
        weight = _HEAP_EXITS.get(actor.end.code, 0.0) if java else 0.0
        flat = _plateau(actor)
        refused = any(c.call == CallKind.MEMORY for c in actor.calls)
        if refused or not (weight or dump or (java and flat and actor.end.code == 1)):
            continue
        evidence = []
        if weight:
            text = (
                f"{actor.who} exited by itself with status {actor.end.code}, which a JVM "
                'uses for "out of memory"; no signal was sent.'
            )
            evidence.append(supports(weight, text, ends(actor)))
        if dump is not None:
            evidence.append(
                supports(CLEAR, f"It wrote a heap dump: {dump.path}.", facts_of_use(dump))
            )
        if flat:
            evidence.append(
                supports(
                    SOME,
                    f"Its memory had stopped growing at {mib(actor.rss_bytes)}.",
                    _points(actor)[-3:],
                )
            )
        busy = progress(actor)
        if java and busy is not None and busy > 0.8:
            evidence.append(
                supports(
                    SLIGHT,
                    (
                        f"It used {busy:.1f} CPUs until its end, as the garbage collection of "
                        "a full heap does."
                    ),
                    ends(actor),
                )
            )
        limit = actor.limit_bytes
        if limit and actor.usage is not None and actor.usage.last is not None:
            used = actor.usage.last.memory_usage_bytes
            text = f"Its cgroup used {mib(used)} of {mib(limit)}."
            make = supports if used < _NEAR * limit else contradicts
            evidence.append(make(SLIGHT, text, [fact(actor.usage.last)]))
        summary = (
            f"{actor.who} reached its own heap limit at {mib(actor.peak_bytes)} and exited "
            f"with status {actor.end.code}{_on(actor)}."
        )
        yield Candidate(
            cause="mem.app_heap",
            culprit=process_culprit(actor),
            summary=summary,
            evidence=tuple(evidence),
            subject=actor.key,
            at_ns=actor.end_ns,
        )


def _points(actor: ProcessSnapshot) -> list[Fact]:
    return [
        fact_of_point(actor.pid, actor.name, p)
        for p in (actor.usage.curve.points if actor.usage is not None else ())
    ]


def _plateau(actor: ProcessSnapshot) -> bool:
    recent = actor.usage.recent if actor.usage is not None else ()
    if len(recent) < 3:
        return False
    values = [v for _, v in recent[-3:]]
    return max(values) - min(values) <= _PLATEAU * max(values) and max(values) > 32 << 20


def limits(case: Case) -> Iterator[Candidate]:
    """Finds refused calls of mmap, brk or mremap.

    The limit is the process's own, because a full cgroup causes an OOM kill instead.
    """
    for actor in case:
        calls = [c for c in actor.calls if c.call == CallKind.MEMORY and c.error == errno.ENOMEM]
        if not calls or not actor.failed:
            continue
        evidence = [
            supports(
                STRONG,
                f"Memory allocations of {actor.who} failed {times(calls[0].failures)}.",
                facts(*calls),
            )
        ]
        if actor.oom is not None:
            evidence.append(
                contradicts(STRONG, "The kernel's OOM killer killed it.", facts(actor.oom))
            )
        if actor.end.signal == 0 or actor.end.signal == signal.SIGABRT:
            evidence.append(
                supports(SOME, f"It then ended by itself: it {actor.end.words}.", ends(actor))
            )
        summary = (
            f"{actor.who} reached the limit of its own address space (peak "
            f"{mib(actor.peak_bytes)}): mmap or brk failed with ENOMEM."
        )
        yield Candidate(
            cause="mem.rlimit",
            culprit=process_culprit(actor),
            summary=summary,
            evidence=tuple(evidence),
            subject=actor.key,
            at_ns=calls[0].first_boottime_ns,
        )


def thrashing(case: Case) -> Iterator[Candidate]:
    for actor in case:
        usage = actor.usage
        lasted = usage.pressed_ns.get("faults", 0) if usage is not None else 0
        if usage is None or lasted < 3 * SECOND:
            continue
        _, look = usage.worst["faults"]
        first = usage.first or look
        reread = look.read_bytes - first.read_bytes - (look.read_call_bytes - first.read_call_bytes)
        text = (
            f"For {lasted / 1e9:.0f} s {actor.who} read pages back from storage at the "
            f"limit of its memory: {look.major_faults - first.major_faults} major faults, "
            f"{mib(max(0, reread))} without a read call."
        )
        evidence = [supports(STRONG, text, [fact(first), fact(look)])]
        if look.memory_failures > first.memory_failures:
            text = (
                "Meanwhile its memory cgroup reached the limit "
                f"{times(look.memory_failures - first.memory_failures)}, and no process "
                "was killed."
            )
            evidence.append(supports(SLIGHT, text, [fact(look)]))
        if actor.oom is not None:
            evidence.append(contradicts(SOME, "It ended in an OOM kill.", facts(actor.oom)))
        summary = (
            f"{actor.who} thrashed for {lasted / 1e9:.0f} s: it used "
            f"{mib(look.memory_usage_bytes)} of {mib(look.memory_limit_bytes)}."
        )
        yield Candidate(
            cause="mem.thrash",
            culprit=process_culprit(actor),
            summary=summary,
            evidence=tuple(evidence),
            subject=actor.key,
            at_ns=look.time_boottime_ns,
            silent=True,
        )


def shared_memory(case: Case) -> Iterator[Candidate]:
    """Finds SIGBUS on a page of a full tmpfs, and ENOSPC below /dev/shm."""
    for actor in case:
        event = died_of(actor)
        full = [c for c in actor.calls if c.error == errno.ENOSPC and c.path.startswith(_SHARED)]
        bus = event is not None and event.signal == signal.SIGBUS and event.code == SIGBUS_ADDRESS
        if not bus and not (full and actor.failed):
            continue
        mapped = [u for u in actor.uses if u.writing and _is_memory_file(u.path)]
        mapped += [
            u
            for u in actor.uses
            if u.writing and u not in mapped and u.size_bytes > u.written_bytes
        ]
        evidence = []
        if bus and event is not None:
            evidence.append(
                supports(
                    CLEAR,
                    f"{actor.who} was killed by SIGBUS (no page behind the address).",
                    [fact(event), *ends(actor)],
                )
            )
        if full:
            evidence.append(
                supports(STRONG, f"{full[0].path}: {error_name(full[0].error)}.", facts(*full))
            )
        culprit = process_culprit(actor)
        if mapped:
            use = max(mapped, key=lambda u: (_is_memory_file(u.path), u.size_bytes, u.path))
            text = (
                f"It had mapped {use.path}: {mib(use.size_bytes)}, of which "
                f"{mib(use.written_bytes)} were written."
            )
            evidence.append(
                supports(CLEAR if _is_memory_file(use.path) else SOME, text, facts_of_use(use))
            )
            culprit = Culprit(type="file", path=use.path, inode=use.key[1], device=use.key[0])
        elif full:
            culprit = Culprit(type="file", path=full[0].path)
        summary = (
            f"Shared memory was full: {actor.who} could not use {culprit.path or 'its mapping'}."
        )
        yield Candidate(
            cause="mem.shm_full",
            culprit=culprit,
            summary=summary,
            evidence=tuple(evidence),
            subject=actor.key,
            at_ns=actor.end_ns,
        )


def _is_memory_file(path: str) -> bool:
    return path.startswith((*_SHARED, "/memfd:")) or "shm" in path


CAUSES = (oom_kills, guards, heaps, limits, thrashing, shared_memory)
