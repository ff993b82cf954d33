"""Causes in waiting: a lack of CPU time, and waits that do not end."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.events import ProcessSample
from receiver.investigate.case import Case
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    Candidate,
    Culprit,
    Evidence,
    contradicts,
    ends,
    fact,
    fact_of_point,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.units import SECOND

_THREADS = 2
_PRESSED_NS = 3 * SECOND
_SLOW_NS = 5 * SECOND


def quota(case: Case) -> Iterator[Candidate]:
    """Finds periods in which the CPU quota throttled its cgroup."""
    worst: tuple[int, ProcessSnapshot] | None = None
    for actor in case:
        lasted = actor.usage.pressed_ns.get("quota", 0) if actor.usage is not None else 0
        if lasted >= _PRESSED_NS and (worst is None or lasted > worst[0]):
            worst = (lasted, actor)
    if worst is None or worst[1].usage is None:
        return
    lasted, actor = worst
    share, look = actor.usage.worst["quota"]  # type: ignore[union-attr]
    first = actor.usage.first or look  # type: ignore[union-attr]
    stopped = (look.throttled_ns - first.throttled_ns) / 1e9
    text = (
        f"The quota of its CPU cgroup stopped {actor.who} in {share:.0%} of the periods, for "
        f"{lasted / 1e9:.0f} s."
    )
    evidence = [supports(CLEAR + SOME if share > 0.5 else CLEAR, text, [fact(first), fact(look)])]
    if look.running_threads > 1 or look.threads > _THREADS:
        text = (
            f"It had {look.threads} threads, and {look.running_threads} of them were ready to run."
        )
        evidence.append(supports(SLIGHT, text, [fact(look)]))
    evidence.append(
        supports(SLIGHT, f"Together they were stopped for {stopped:.1f} s.", [fact(look)])
    )
    slow = _explains_slowness(case, actor, evidence, lasted)
    summary = (
        f"{actor.who} was throttled by its CPU quota in {share:.0%} of the periods for "
        f"{lasted / 1e9:.0f} s."
    )
    yield Candidate(
        cause="cpu.quota",
        culprit=process_culprit(actor),
        summary=summary,
        remedy=(
            f"Start fewer than {look.threads} threads in {actor.who}, or raise the quota of its "
            "CPU cgroup."
        ),
        evidence=tuple(evidence),
        subject=actor.key,
        at_ns=look.time_boottime_ns,
        harms_without_failure=slow,
    )


def _explains_slowness(
    case: Case, actor: ProcessSnapshot, evidence: list[Evidence], lasted: int
) -> bool:
    """Whether this is a sufficient reason for a successful task to be too slow."""
    share = lasted / max(1, (actor.end_ns or case.now_ns) - actor.start_ns)
    if share > 0.4:
        evidence.append(supports(SLIGHT, f"That was {share:.0%} of its run time.", ends(actor)))
    return share > 0.4 and lasted >= _SLOW_NS


def neighbours(case: Case) -> Iterator[Candidate]:
    """Finds processes that waited on a run queue while another process ran."""
    for actor in case:
        usage = actor.usage
        lasted = usage.pressed_ns.get("cpu", 0) if usage is not None else 0
        if usage is None or lasted < _PRESSED_NS:
            continue
        share, look = usage.worst["cpu"]
        counted = actor.exit if actor.exit is not None else usage.last or look
        text = (
            f"{actor.who} was short of CPU for {lasted / 1e9:.0f} s: its ready threads waited for "
            f"up to {min(1.0, share):.0%} of the time between two samples, and "
            f"{counted.run_delay_ns / 1e9:.1f} s in all."
        )
        evidence = [supports(CLEAR if share > 0.3 else SOME, text, [fact(look)])]
        culprit, foreign, who = _took_the_cpu(case, actor, look)
        evidence.append(who)
        if usage.pressed_ns.get("quota", 0) >= _PRESSED_NS:
            evidence.append(
                contradicts(CLEAR, "Its own CPU quota stopped it.", [fact(usage.worst["quota"][1])])
            )
        silent = _explains_slowness(case, actor, evidence, lasted) and foreign
        summary = (
            f"{culprit.name or 'Others'} ({culprit.pid}) took the CPU from {actor.who} for "
            f"{lasted / 1e9:.0f} s."
        )
        yield Candidate(
            cause="cpu.neighbour",
            culprit=culprit,
            summary=summary,
            remedy=(
                f"Move or limit {culprit.name} ({culprit.pid}), or reserve CPUs for {actor.who}."
                if culprit.pid
                else ""
            ),
            evidence=tuple(evidence),
            subject=actor.key,
            at_ns=look.time_boottime_ns,
            harms_without_failure=silent,
        )


def _took_the_cpu(
    case: Case, actor: ProcessSnapshot, look: ProcessSample
) -> tuple[Culprit, bool, Evidence]:
    """Returns who used the CPU meanwhile, whether that is foreign to the task, and the evidence."""
    competitor = max(case.strangers, key=lambda t: (t.cpu_ns, -t.pid), default=None)
    inside = _busy_inside(case, actor)
    if (
        competitor is not None
        and competitor.cpu_ns > SECOND
        and (inside is None or competitor.cpu_ns > inside[0])
    ):
        text = (
            f"{competitor.name} ({competitor.pid}), which does not belong to the task, "
            f"used {competitor.cpu_ns / 1e9:.1f} s of CPU in the last minute."
        )
        shown = [fact_of_point(competitor.pid, competitor.name, p) for p in competitor.points[-2:]]
        start = competitor.key.start_boottime_ns if competitor.key is not None else 0
        culprit = Culprit(
            type="process", name=competitor.name, pid=competitor.pid, start_boottime_ns=start
        )
        return culprit, True, supports(CLEAR, text, shown)
    if inside is not None:
        used, other = inside
        text = f"{other.who} used {used / 1e9:.1f} s of CPU in that time."
        return process_culprit(other), False, supports(SLIGHT, text, ends(other))
    text = "No other process stands out: its own threads used the CPU."
    return Culprit(type="host"), True, contradicts(SOME, text, [fact(look)])


def _busy_inside(case: Case, actor: ProcessSnapshot) -> tuple[int, ProcessSnapshot] | None:
    """Returns the process of the case that used most CPU time meanwhile and does other work."""
    found = []
    for other in case:
        if (
            other is actor
            or case.related(other, actor)
            or (other.exit is None and other.usage is None)
        ):
            continue
        last = other.usage.last if other.usage is not None else None
        used = (
            other.exit.cpu_runtime_ns
            if other.exit is not None
            else last.cpu_runtime_ns
            if last is not None
            else 0
        )
        if (
            used > SECOND
            and other.start_ns < (actor.end_ns or case.now_ns)
            and (not other.end_ns or other.end_ns > actor.start_ns)
        ):
            found.append((used, other))
    return max(found, key=lambda pair: (pair[0], -pair[1].pid), default=None)


CAUSES = (quota, neighbours)
