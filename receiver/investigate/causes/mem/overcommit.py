"""The cause card mem.overcommit."""

from __future__ import annotations

from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.causes.refused_memory import refused_memory

CARD = cause_class(
    name="mem.overcommit",
    title="the host's accounting of memory refused an allocation",
    predicts="an mmap that failed below all limits of the process",
    rivals="mem.rlimit mem.mappings mem.host_oom",
    tag="change_overcommit",
    fix=(
        "Let the program ask for less memory at once, add memory or swap to the host, or "
        "change vm.overcommit_memory and vm.overcommit_ratio."
    ),
    needs="memory_refused",
    brings=(
        to("net.reset_short", Via.CONNECTION_ENDS),
        to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
        to("crash. data.skew", Via.SAME),
    ),
    find=(refused_memory,),
)
