"""The cause card mem.thrash."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.investigate.cards import Nature, Via, cause_class, to
from receiver.investigate.case import Case
from receiver.investigate.evidence import (
    SLIGHT,
    SOME,
    STRONG,
    Candidate,
    contradicts,
    fact,
    facts,
    process_culprit,
    supports,
)
from receiver.text.names import mib, times
from receiver.units import SECOND


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
            f"For {lasted / 1e9:.0f} s {actor.who} read pages back from storage at the limit of "
            "its memory: "
            f"{look.major_faults - first.major_faults} major faults, {mib(max(0, reread))} without "
            "a read call."
        )
        evidence = [supports("mem.thrash.major_faults", STRONG, text, [fact(first), fact(look)])]
        if look.memory_failures > first.memory_failures:
            text = (
                "Meanwhile its memory cgroup reached the limit "
                f"{times(look.memory_failures - first.memory_failures)}, and no process "
                "was killed."
            )
            evidence.append(supports("mem.thrash.limit_reached", SLIGHT, text, [fact(look)]))
        if actor.oom is not None:
            evidence.append(
                contradicts(
                    "mem.thrash.oom_kill_came", SOME, "It ended in an OOM kill.", facts(actor.oom)
                )
            )
        summary = (
            f"{actor.who} thrashed for {lasted / 1e9:.0f} s: it used "
            f"{mib(look.memory_usage_bytes)} of {mib(look.memory_limit_bytes)}."
        )
        yield Candidate(
            cause="mem.thrash",
            culprit=process_culprit(actor),
            summary=summary,
            remedy=(
                f"Raise the memory limit of {actor.memory_cgroup or 'its cgroup'} above "
                f"{mib(look.memory_limit_bytes)}, or let {actor.who} map less."
            ),
            evidence=tuple(evidence),
            subject=actor.key,
            at_ns=look.time_boottime_ns,
            harms_without_failure=True,
        )


CARD = cause_class(
    name="mem.thrash",
    title="it reads its own pages back again and again at the limit of its memory",
    predicts="many major faults at the memory limit",
    rivals="fs.slow_io mem.cgroup_oom",
    tag="memory_headroom",
    fix="Keep the memory limit above the working set: raise the limit, or map less.",
    needs="process_sample",
    nature=Nature.DELAY,
    brings=(
        to("net.reset_short", Via.CONNECTION_ENDS),
        to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
        to("fs.slow_io cpu.neighbour data.skew", Via.SAME),
        to("cpu.neighbour", Via.CGROUP),
        to("kill.supervisor kill.timeout_orphan kill.heartbeat", Via.ANCESTOR),
    ),
    find=(thrashing,),
)
