"""The cause card mem.mappings."""

from __future__ import annotations

from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.causes.refused_memory import refused_memory

CARD = cause_class(
    name="mem.mappings",
    title="it had as many mappings as the kernel allows",
    predicts="an mmap that failed at vm.max_map_count",
    rivals="mem.rlimit mem.overcommit",
    tag="raise_map_count",
    fix="Raise vm.max_map_count, or let the program map fewer and larger pieces.",
    needs="memory_refused",
    brings=(
        to("net.reset_short", Via.CONNECTION_ENDS),
        to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
        to("crash. data.skew", Via.SAME),
    ),
    find=(refused_memory,),
)
