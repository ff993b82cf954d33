"""The cause card fs.enospc."""

from __future__ import annotations

from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.causes.disk_full import full

CARD = cause_class(
    name="fs.enospc",
    title="a file system was full",
    predicts="a write that failed with ENOSPC",
    rivals="fs.inodes_quota mem.shm_full fs.eacces",
    tag="free_space",
    fix=(
        "Free or add space on that file system, or use another one. The report names "
        "the largest writer."
    ),
    needs="call_failed",
    spreads=True,
    brings=(
        to("fs.truncated", Via.SAME),
        to("net.reset_short", Via.CONNECTION_ENDS),
    ),
    find=(full,),
)
