"""The cause card cpu.quota."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.investigate.cards import Nature, Via, cause_class, to
from receiver.investigate.case import Case
from receiver.investigate.causes.waits import PRESSED_NS, explains_slowness
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    Candidate,
    fact,
    facts,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot

_THREADS = 2


def quota(case: Case) -> Iterator[Candidate]:
    """Finds periods in which the CPU quota throttled its cgroup."""
    worst: tuple[int, ProcessSnapshot] | None = None
    for actor in case:
        lasted = actor.usage.pressed_ns.get("quota", 0) if actor.usage is not None else 0
        if lasted >= PRESSED_NS and (worst is None or lasted > worst[0]):
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
    weight = CLEAR + SOME if share > 0.5 else CLEAR
    evidence = [supports("cpu.quota.stopped_in_periods", weight, text, facts(first, look))]
    if look.running_threads > 1 or look.threads > _THREADS:
        text = (
            f"It had {look.threads} threads, and {look.running_threads} of them were ready to run."
        )
        evidence.append(supports("cpu.quota.ready_threads", SLIGHT, text, [fact(look)]))
    text = f"Together they were stopped for {stopped:.1f} s."
    evidence.append(supports("cpu.quota.stopped_in_total", SLIGHT, text, [fact(look)]))
    if not explains_slowness(case, actor, evidence, lasted):
        return
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
        harms_without_failure=True,
    )


CARD = cause_class(
    name="cpu.quota",
    title="its CPU quota stopped it",
    predicts="periods in which its cgroup was throttled",
    rivals="cpu.neighbour fs.slow_io net.silent_peer",
    tag="match_threads_to_quota",
    fix="Set the number of threads to the quota, or raise the quota.",
    needs="process_sample",
    nature=Nature.DELAY,
    brings=(
        to("cpu.neighbour data.skew", Via.SAME),
        to("cpu.neighbour", Via.CGROUP),
        to("kill.timeout_orphan", Via.ANCESTOR),
        to("kill.supervisor", Via.STARTER),
    ),
    find=(quota,),
)
