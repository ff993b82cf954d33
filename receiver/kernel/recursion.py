"""The runs of programs that the kernel refused, in the ledger."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from receiver.events import EventKind, Ledger, LossReason


def with_recursion(ledger: Ledger, misses: Mapping[EventKind, int]) -> Ledger:
    """The ledger with the runs that the kernel refused: they were seen, and are lost.

    A program counts in the row of one kind, and its hook may fire for a process that is not
    watched: these counts are an upper bound.
    """
    if not any(misses.values()):
        return ledger
    seen, lost = list(ledger.seen), [list(reasons) for reasons in ledger.lost]
    for kind, count in misses.items():
        seen[kind] += count
        lost[kind][LossReason.RECURSION] += count
    return msgspec.structs.replace(ledger, seen=tuple(seen), lost=tuple(map(tuple, lost)))
