"""All causes.

Each cause examines a whole case and yields candidates with their evidence. The order of the causes
doesn't matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from receiver.investigate.case import Case
from receiver.investigate.causes import (
    ends,
    files,
    kills,
    memory,
    network,
    slots,
    storage,
    waits,
    work,
)
from receiver.investigate.evidence import Candidate

Cause = Callable[[Case], Iterator[Candidate]]
CAUSES: tuple[Cause, ...] = tuple(
    cause
    for module in (memory, kills, files, storage, network, slots, waits, ends, work)
    for cause in module.CAUSES
)
