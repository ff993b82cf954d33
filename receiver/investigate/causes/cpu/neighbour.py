"""The cause card cpu.neighbour."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from receiver.events import ProcessSample
from receiver.facts.neighbours import Competitor
from receiver.investigate.cards import Nature, Via, cause_class, to
from receiver.investigate.case import Case
from receiver.investigate.causes.waits import PRESSED_NS, SLOW_NS, explains_slowness
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


def neighbours(case: Case) -> Iterator[Candidate]:
    """Finds processes that waited on a run queue while another process ran."""
    for actor in case:
        usage = actor.usage
        lasted = usage.pressed_ns.get("cpu", 0) if usage is not None else 0
        if usage is None or lasted < PRESSED_NS:
            continue
        share, look = usage.worst["cpu"]
        counted = actor.exit if actor.exit is not None else usage.last or look
        text = (
            f"{actor.who} was short of CPU for {lasted / 1e9:.0f} s: its ready threads waited for "
            f"up to {min(1.0, share):.0%} of the time between two samples, and "
            f"{counted.run_delay_ns / 1e9:.1f} s in all."
        )
        evidence = [
            supports(
                "cpu.neighbour.ready_and_waiting",
                CLEAR if share > 0.3 else SOME,
                text,
                [fact(look)],
            )
        ]
        culprit, foreign, who = _took_the_cpu(case, actor, look)
        evidence.append(who)
        if usage.pressed_ns.get("quota", 0) >= PRESSED_NS:
            text = "Its own CPU quota stopped it."
            evidence.append(
                contradicts("cpu.neighbour.own_quota", CLEAR, text, [fact(usage.worst["quota"][1])])
            )
        if not explains_slowness(case, actor, evidence, lasted) or (
            lasted < SLOW_NS and _worked_meanwhile(actor)
        ):
            continue
        beside = f", while {culprit.name} ({culprit.pid}) used CPUs" if culprit.pid else ""
        summary = f"{actor.who} was short of CPU for {lasted / 1e9:.0f} s{beside}."
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
            harms_without_failure=foreign,
        )


def _took_the_cpu(
    case: Case, actor: ProcessSnapshot, look: ProcessSample
) -> tuple[Culprit, bool, Evidence]:
    """Returns who used the CPU meanwhile, whether that is foreign to the task, and the evidence."""
    alike = _most_of_one_name(case)
    used = sum(t.cpu_ns for t in alike)
    inside = _busy_inside(case, actor)
    if used > SECOND and (inside is None or used > inside[0]):
        competitor = alike[0]
        text = (
            f"{competitor.name} ({competitor.pid}), which does not belong to the task, "
            f"used {competitor.cpu_ns / 1e9:.1f} s of CPU in the last minute."
        )
        if len(alike) > 1:
            text = (
                f"{len(alike)} processes with the name {competitor.name}, which do not belong to "
                f"the task, used {used / 1e9:.1f} s of CPU in the last minute. "
                f"{competitor.name} ({competitor.pid}) used most: {competitor.cpu_ns / 1e9:.1f} s."
            )
        shown = [fact_of_point(competitor.pid, competitor.name, p) for p in competitor.points[-2:]]
        start = competitor.key.start_boottime_ns if competitor.key is not None else 0
        culprit = Culprit(
            type="process", name=competitor.name, pid=competitor.pid, start_boottime_ns=start
        )
        waited = actor.exit.run_delay_ns if actor.exit is not None else look.run_delay_ns
        weight = CLEAR if 2 * used >= waited else SOME  # others took more
        return culprit, True, supports("cpu.neighbour.stranger_used_it", weight, text, shown)
    if inside is not None:
        used, other = inside
        text = f"{other.who} used {used / 1e9:.1f} s of CPU in that time."
        return (
            process_culprit(other),
            False,
            supports("cpu.neighbour.sibling_used_it", SLIGHT, text, ends(other)),
        )
    text = "No other process stands out: its own threads used the CPU."
    return (
        Culprit(type="host"),
        True,
        contradicts("cpu.neighbour.only_its_own", SOME, text, [fact(look)]),
    )


def _most_of_one_name(case: Case) -> list[Competitor]:
    """Returns the strangers of that name that used most CPU together, the largest one first."""
    by: dict[str, list[Competitor]] = defaultdict(list)
    for each in sorted(case.strangers, key=lambda t: (-t.cpu_ns, t.pid)):
        if each.cpu_ns:
            by[each.name].append(each)
    return max(by.values(), key=lambda g: (sum(t.cpu_ns for t in g), -g[0].pid), default=[])


def _worked_meanwhile(actor: ProcessSnapshot) -> bool:
    """Whether a process that ended young got more CPU time than it waited for."""
    return actor.exit is not None and actor.exit.run_delay_ns < actor.exit.cpu_runtime_ns


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


CARD = cause_class(
    name="cpu.neighbour",
    title="other processes used the CPU",
    predicts="a long wait for a CPU that others used",
    rivals="cpu.quota fs.slow_io data.skew",
    tag="isolate_cpu",
    fix="Move or limit the neighbour, or reserve CPUs for the task.",
    needs="process_sample neighbour",
    nature=Nature.DELAY,
    brings=(
        to("kill.timeout_orphan", Via.ANCESTOR),
        to("kill.supervisor", Via.STARTER),
    ),
    find=(neighbours,),
)
