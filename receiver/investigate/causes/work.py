"""Causes in the work itself: duplicate runs, data skew, and steps of the wall clock."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from receiver.attribution.partitions import partition_in_path
from receiver.investigate.case import Case, task_key
from receiver.investigate.causes.common import LARGE, partition_share, shells
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
    fact_of_clock_step,
    facts_of_use,
    process_culprit,
    supports,
)
from receiver.investigate.history import partition_bytes
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.names import mib
from receiver.units import MIB, SECOND


def twice(case: Case) -> Iterator[Candidate]:
    """Finds two processes with the same command line at the same time that write the same path.

    They were started independently.
    """
    same: dict[tuple[str, ...], list[ProcessSnapshot]] = defaultdict(list)
    for actor in case:
        if actor.execs and len(actor.argv) > 1:
            same[(actor.executable, *actor.argv)].append(actor)
    for actors in same.values():
        for one, other in pairwise(actors):
            if one.end_ns and one.end_ns <= other.start_ns:
                continue
            apart = (other.start_ns - one.start_ns) / 1e9
            if apart < 0.5 or other in case.below(one):
                continue
            paths = {u.path for u in one.uses if u.written_bytes} & {
                u.path for u in other.uses if u.written_bytes
            }
            paths = {p for p in paths if not p.startswith("/dev/") and not p.endswith(".log")}
            if not paths:
                continue
            text = (
                f"{one.who} and {other.who} are the same command. They started {apart:.1f} "
                "s apart and ran at the same time."
            )
            evidence = [supports(CLEAR + SOME, text, [*ends(one), *ends(other)])]
            path = min(paths)
            shown = [
                f for a in (one, other) for u in a.uses if u.path == path for f in facts_of_use(u)
            ]
            evidence.append(supports(CLEAR, f"Both wrote {path}.", shown))
            summary = (
                f"The same command ran twice at once: {one.who} and {other.who} started "
                f"{apart:.1f} s apart, and both wrote {path}."
            )
            yield Candidate(
                cause="proc.duplicate_run",
                culprit=process_culprit(other),
                summary=summary,
                remedy=(
                    f"Let only one of {one.who} and {other.who} run at a time (a lock), set the "
                    "redelivery time above that of the longest task, or write idempotently."
                ),
                evidence=tuple(evidence),
                subject=other.key,
                at_ns=other.start_ns,
                harms_without_failure=True,
            )
            break


def skew(case: Case) -> Iterator[Candidate]:
    """Finds sibling workers with unequal shares, where the last one delays the whole task."""
    groups: dict[tuple[object, ...], list[ProcessSnapshot]] = defaultdict(list)
    for actor in case:
        if not shells(actor):
            words = actor.argv[:2] if actor.execs else ("fork", *actor.argv[:2])
            groups[(actor.parent, actor.executable, *words)].append(actor)
    for group in groups.values():
        done = [a for a in group if a.exit is not None and a.end_ns - a.start_ns > SECOND // 20]
        if len(done) < 3 or len({a.start_ns // (2 * SECOND) for a in done}) > 2:
            continue
        reads = {a: _input(a) for a in done}
        largest = max(done, key=lambda a: (reads[a], -a.pid))
        usual = statistics.median(v for a, v in reads.items() if a is not largest)
        lives = {a: a.end_ns - a.start_ns for a in done}
        rest = statistics.median(v for a, v in lives.items() if a is not largest)
        if (
            reads[largest] < LARGE * max(usual, 1)
            or reads[largest] < MIB
            or lives[largest] < 1.8 * rest
            or largest.oom is not None
        ):
            continue
        uses = sorted(
            (u for u in largest.uses if u.reading and u.read_bytes), key=lambda u: -u.read_bytes
        )
        text = (
            f"{largest.who} read {mib(reads[largest])}, which is "
            f"{reads[largest] / max(usual, 1):.1f} times the {mib(int(usual))} of its siblings."
        )
        evidence = [supports(CLEAR, text, [f for u in uses[:2] for f in facts_of_use(u)])]
        evidence += _worked_longer(largest, done)
        culprit, named = process_culprit(largest), ""
        if uses:
            path, (device, inode) = uses[0].path, uses[0].key
            culprit = Culprit(type="file", path=path, inode=inode, device=device)
            named = partition_in_path(path)
        summary = (
            f"One part is far larger than the others: {largest.who} read "
            f"{mib(reads[largest])}{f' of {named}' if named else ''}, the others {mib(int(usual))}."
        )
        yield Candidate(
            cause="data.skew",
            culprit=culprit,
            summary=summary,
            remedy=(
                f"Split or salt {culprit.path or 'the large part'}: it has {mib(reads[largest])}, "
                f"the others {mib(int(usual))}."
            ),
            evidence=tuple(evidence),
            subject=largest.key,
            at_ns=largest.end_ns,
            harms_without_failure=True,
        )


def _worked_longer(largest: ProcessSnapshot, done: list[ProcessSnapshot]) -> list[Evidence]:
    """Returns what its life and its CPU time say of a worker with the largest share."""
    out = []
    life = largest.end_ns - largest.start_ns
    alone = (largest.end_ns - max(a.end_ns for a in done if a is not largest)) / 1e9
    if alone > 0.3 * life / 1e9:
        text = f"It ran {alone:.1f} s longer than any other."
        out.append(supports(SOME, text, ends(largest)))
    cpu = {a: a.exit.cpu_runtime_ns for a in done if a.exit is not None}
    others = statistics.median(v for a, v in cpu.items() if a is not largest)
    if cpu[largest] >= 2 * others:
        text = f"It used {cpu[largest] / max(1, others):.1f} times the CPU time of the others."
        out.append(supports(SLIGHT, text, ends(largest)))
    delay = largest.usage.pressed_ns.get("cpu", 0) if largest.usage is not None else 0
    if delay > 0.4 * life:
        out.append(contradicts(CLEAR, "It waited for a CPU most of the time.", ends(largest)))
    return out


def larger(case: Case) -> Iterator[Candidate]:
    """Finds a run that is slower than all earlier runs because its only partition is larger."""
    if case.history is None or case.root is None or case.root.failed:
        return
    key = task_key(case.execution.identity)
    took, known = case.history.duration(key), case.history.partition(key)
    if took is None or known is None or not took.is_far_above(case.seconds):
        return
    for name, (size, uses) in sorted(partition_bytes(case).items()):
        actor = next((a for a in case if a.partition == name), None)
        if actor is None or not uses or not known.is_far_above(size, LARGE):
            continue
        text = (
            f"It took {case.seconds:.1f} s. All of its last {took.count} runs took less; "
            f"their median is {took.median:.1f} s."
        )
        evidence = [supports(CLEAR, text, ends(case.root)), *partition_share(case, actor)]
        idle = (
            actor.usage.idle_period.ns
            if actor.usage is not None and actor.usage.idle_period is not None
            else 0
        )
        if actor.exit is not None and actor.exit.cpu_runtime_ns >= 0.5 * (
            actor.end_ns - actor.start_ns
        ):
            evidence.append(
                supports(SOME, f"{actor.who} used the CPU for most of that time.", ends(actor))
            )
        elif idle > 0.5 * (actor.end_ns - actor.start_ns):
            evidence.append(
                contradicts(CLEAR, f"{actor.who} was inactive for most of that time.", ends(actor))
            )
        culprit = Culprit(
            type="file", path=uses[0].path, inode=uses[0].key[1], device=uses[0].key[0]
        )
        times = known.times(size)
        summary = (
            f"{actor.who} worked on {name}, {times:.1f} times the median ({mib(size)}), "
            f"and took {took.times(case.seconds):.1f} times as long."
        )
        yield Candidate(
            cause="data.skew",
            culprit=culprit,
            summary=summary,
            evidence=tuple(evidence),
            subject=actor.key,
            at_ns=actor.end_ns,
            harms_without_failure=True,
        )


def _input(actor: ProcessSnapshot) -> int:
    return sum(
        u.read_bytes
        for u in actor.uses
        if u.reading and not u.writing and not u.path.startswith(("/proc/", "/sys/"))
    )


def clock(case: Case) -> Iterator[Candidate]:
    for step in case.clock_steps:
        moved = step.delta_ns / 1e9
        evidence = [
            supports(
                STRONG,
                f"The wall clock was moved by {moved:+.3f} s while it ran.",
                [fact_of_clock_step(step)],
            )
        ]
        if abs(moved) >= 1:
            evidence.append(
                supports(
                    SOME,
                    (
                        "That is more than a second: the time stamps of files and tokens "
                        "are no longer in order."
                    ),
                    [fact_of_clock_step(step)],
                )
            )
        summary = f"The wall clock of the host moved by {moved:+.1f} s during the run."
        yield Candidate(
            cause="time.clock",
            culprit=Culprit(type="host"),
            summary=summary,
            evidence=tuple(evidence),
            subject=None,
            at_ns=step.at_ns,
            harms_without_failure=True,
        )


CAUSES = (twice, skew, larger, clock)
