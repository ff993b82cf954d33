"""The cause card mem.oom_disabled."""

from __future__ import annotations

from receiver.investigate.cards import Nature, Via, cause_class, to
from receiver.investigate.causes.memory_waits import memory_waits

CARD = cause_class(
    name="mem.oom_disabled",
    title="a memory cgroup was full, and its OOM killer was off",
    predicts="a wait for memory of a full cgroup whose OOM killer is off",
    rivals="fs.slow_io mem.cgroup_oom mem.thrash",
    tag="enable_oom_killer",
    fix=(
        "Raise the limit of the cgroup, or make the step smaller. Write 0 to "
        "memory.oom_control, so that a full cgroup ends with an OOM kill and not with a hang."
    ),
    needs="memory_wait thread_wait",
    nature=Nature.DELAY,
    brings=(
        to("fs.slow_io mem.thrash", Via.SAME),
        to("kill.", Via.ANCESTOR),
        to("net.silent_peer", Via.CONNECTION_ENDS),
    ),
    find=(memory_waits,),
)
