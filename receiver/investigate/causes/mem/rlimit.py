"""The cause card mem.rlimit."""

from __future__ import annotations

from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.causes.memory import memory_limits
from receiver.investigate.causes.refused_memory import refused_memory

CARD = cause_class(
    name="mem.rlimit",
    title="a limit of its own address space or data made an allocation fail",
    predicts="an mmap or brk that failed with ENOMEM",
    rivals="mem.cgroup_oom mem.app_heap",
    tag="raise_rlimit",
    fix="Raise the process's own limit (ulimit -v, RLIMIT_AS), or use less memory.",
    needs="call_failed",
    brings=(
        to("net.reset_short", Via.CONNECTION_ENDS),
        to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
        to("crash. data.skew", Via.SAME),
    ),
    find=(
        memory_limits,
        refused_memory,
    ),
)
