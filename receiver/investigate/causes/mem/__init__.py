"""The cause cards of memory."""

from __future__ import annotations

from receiver.investigate.cards import CauseClass
from receiver.investigate.causes.mem import (
    app_heap,
    cgroup_neighbour,
    cgroup_oom,
    child_oom,
    hardware,
    high,
    host_oom,
    mappings,
    oom_disabled,
    overcommit,
    rlimit,
    shm_full,
    thrash,
    userspace_killer,
)

CARDS: tuple[CauseClass, ...] = (
    app_heap.CARD,
    cgroup_neighbour.CARD,
    cgroup_oom.CARD,
    child_oom.CARD,
    hardware.CARD,
    high.CARD,
    host_oom.CARD,
    mappings.CARD,
    oom_disabled.CARD,
    overcommit.CARD,
    rlimit.CARD,
    shm_full.CARD,
    thrash.CARD,
    userspace_killer.CARD,
)
