"""The cause card mem.high."""

from __future__ import annotations

from receiver.investigate.cards import Nature, Via, cause_class, to
from receiver.investigate.causes.memory_waits import memory_waits

CARD = cause_class(
    name="mem.high",
    title="the kernel slowed it down, because its cgroup was above memory.high",
    predicts="a wait above memory.high",
    rivals="fs.slow_io mem.thrash cpu.quota",
    tag="raise_memory_high",
    fix="Raise memory.high of the cgroup, or make the step smaller.",
    needs="thread_wait",
    nature=Nature.DELAY,
    brings=(
        to("fs.slow_io mem.thrash", Via.SAME),
        to("kill.", Via.ANCESTOR),
        to("net.silent_peer", Via.CONNECTION_ENDS),
    ),
    find=(memory_waits,),
)
