"""The cause card lim.pids."""

from __future__ import annotations

from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.causes.ends import refused_clones

CARD = cause_class(
    name="lim.pids",
    title="no process or thread could be created",
    predicts="a clone that failed with EAGAIN",
    rivals="proc.zombies lim.emfile mem.rlimit",
    tag="raise_pids",
    fix="Raise the pids limit, or start fewer processes and threads.",
    needs="call_failed",
    brings=(
        to("crash.abort_ill net.dns", Via.SAME),
        to("net.reset_short", Via.CONNECTION_ENDS),
    ),
    find=(refused_clones,),
)
