"""All causes.

Each cause examines a whole case and yields candidates with their evidence. The order of the causes
doesn't matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from receiver.investigate.case import Case
from receiver.investigate.causes import (
    broken,
    bus_errors,
    deadlines,
    disk_full,
    ends,
    files,
    hangs,
    kill_origins,
    killed_holders,
    kills,
    locks,
    lost_status,
    memory,
    memory_guards,
    memory_waits,
    missing_paths,
    network,
    oom,
    partial_files,
    ports,
    refusals,
    refused_memory,
    silence,
    slots,
    stalls,
    storage,
    token_calls,
    waits,
    work,
)
from receiver.investigate.evidence import Candidate

Cause = Callable[[Case], Iterator[Candidate]]
CAUSES: tuple[Cause, ...] = (
    *oom.CAUSES,
    *memory_guards.CAUSES,
    *memory_waits.CAUSES,
    *refused_memory.CAUSES,
    *memory.CAUSES,
    *bus_errors.CAUSES,
    *kills.CAUSES,
    *kill_origins.CAUSES,
    *killed_holders.CAUSES,
    *deadlines.CAUSES,
    *missing_paths.CAUSES,
    *refusals.CAUSES,
    *partial_files.CAUSES,
    *files.CAUSES,
    *disk_full.CAUSES,
    *locks.CAUSES,
    *storage.CAUSES,
    *network.CAUSES,
    *silence.CAUSES,
    *broken.CAUSES,
    *slots.CAUSES,
    *token_calls.CAUSES,
    *ports.CAUSES,
    *waits.CAUSES,
    *hangs.CAUSES,
    *stalls.CAUSES,
    *ends.CAUSES,
    *lost_status.CAUSES,
    *work.CAUSES,
)
