"""The cause card data.skew."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator

from receiver.attribution.partitions import partition_in_path
from receiver.investigate.cards import Nature, Via, cause_class, to
from receiver.investigate.case import Case, task_key
from receiver.investigate.causes.common import LARGE, partition_share, shells
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    Candidate,
    Culprit,
    Evidence,
    contradicts,
    ends,
    facts_of_use,
    process_culprit,
    supports,
)
from receiver.investigate.history import partition_bytes
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.names import mib
from receiver.units import MIB, SECOND


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
        shown = [f for u in uses[:2] for f in facts_of_use(u)]
        evidence = [supports("data.skew.read_more", CLEAR, text, shown)]
        evidence += _worked_longer(largest, done)
        culprit, named = process_culprit(largest), ""
        if uses:
            path, (device, inode) = uses[0].path, uses[0].key
            culprit = Culprit(type="file", path=path, inode=inode, device=device)
            named = partition_in_path(path)
        has = f"{mib(reads[largest])}{f' of {named}' if named else ''}"
        others = f"the others {mib(int(usual))}"
        yield Candidate(
            cause="data.skew",
            culprit=culprit,
            summary=f"One part is far larger than the others: {largest.who} read {has}, {others}.",
            remedy=f"Split or salt {culprit.path or 'the large part'}: it has {has}, {others}.",
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
        out.append(supports("data.skew.ran_longer", SOME, text, ends(largest)))
    cpu = {a: a.exit.cpu_runtime_ns for a in done if a.exit is not None}
    others = statistics.median(v for a, v in cpu.items() if a is not largest)
    if cpu[largest] >= 2 * others:
        text = f"It used {cpu[largest] / max(1, others):.1f} times the CPU time of the others."
        out.append(supports("data.skew.used_more_cpu", SLIGHT, text, ends(largest)))
    delay = largest.usage.pressed_ns.get("cpu", 0) if largest.usage is not None else 0
    if delay > 0.4 * life:
        out.append(
            contradicts(
                "data.skew.waited_for_cpu",
                CLEAR,
                "It waited for a CPU most of the time.",
                ends(largest),
            )
        )
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
        evidence = [
            supports("data.skew.slower_than_before", CLEAR, text, ends(case.root)),
            *partition_share(case, actor),
        ]
        idle = (
            actor.usage.idle_period.ns
            if actor.usage is not None and actor.usage.idle_period is not None
            else 0
        )
        if actor.exit is not None and actor.exit.cpu_runtime_ns >= 0.5 * (
            actor.end_ns - actor.start_ns
        ):
            text = f"{actor.who} used the CPU for most of that time."
            evidence.append(supports("data.skew.worked_all_the_time", SOME, text, ends(actor)))
        elif idle > 0.5 * (actor.end_ns - actor.start_ns):
            text = f"{actor.who} was inactive for most of that time."
            evidence.append(contradicts("data.skew.was_inactive", CLEAR, text, ends(actor)))
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


CARD = cause_class(
    name="data.skew",
    title="one part of the data was far larger than the others",
    predicts="one worker with several times the bytes of its siblings",
    rivals="cpu.neighbour fs.slow_io cpu.quota",
    tag="split_partition",
    fix="Split or salt the large part (AQE skew join, smaller files).",
    visible="P",
    nature=Nature.DELAY,
    brings=(
        to("cpu.neighbour", Via.SAME),
        to("kill.timeout_orphan kill.heartbeat kill.probe", Via.ANCESTOR),
    ),
    find=(
        larger,
        skew,
    ),
)
