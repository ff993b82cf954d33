"""The cause card mem.shm_full."""

from __future__ import annotations

from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.causes.bus_errors import bus_errors
from receiver.investigate.causes.memory import shared_memory
from receiver.investigate.causes.oom import oom_kills

CARD = cause_class(
    name="mem.shm_full",
    title="shared memory or a tmpfs was full",
    predicts="a tmpfs that was full",
    rivals="mem.cgroup_oom fs.replaced fs.enospc",
    tag="grow_shm",
    fix=(
        "Store the data on a disk, or remove files from the tmpfs. If that one is full, "
        "enlarge it (/dev/shm: shm_size, emptyDir medium Memory)."
    ),
    brings=(
        to("fs.truncated", Via.SAME),
        to("net.reset_short", Via.CONNECTION_ENDS),
        to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
        to("crash. data.skew", Via.SAME),
    ),
    find=(
        bus_errors,
        shared_memory,
        oom_kills,
    ),
)
