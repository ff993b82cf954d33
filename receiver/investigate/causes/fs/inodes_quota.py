"""The cause card fs.inodes_quota."""

from __future__ import annotations

from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.causes.disk_full import full

CARD = cause_class(
    name="fs.inodes_quota",
    title="a file system had no inodes or no quota left",
    predicts="a create that failed while there was room",
    rivals="fs.enospc fs.eacces",
    tag="free_inodes",
    fix="Delete small files or raise the quota: the space itself is not used up.",
    needs="call_failed",
    spreads=True,
    brings=(
        to("fs.truncated", Via.SAME),
        to("net.reset_short", Via.CONNECTION_ENDS),
    ),
    find=(full,),
)
