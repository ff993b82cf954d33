"""The cause card lim.emfile."""

from __future__ import annotations

from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.causes.ends import process_limits

CARD = cause_class(
    name="lim.emfile",
    title="no file descriptor was free",
    predicts="a call that failed with EMFILE",
    rivals="lim.pids net.ports fs.eacces",
    tag="close_descriptors",
    fix="Close files and sockets after use, or raise the limit (ulimit -n).",
    needs="call_failed",
    brings=(
        to("net.dns", Via.SAME),
        to("net.reset_short", Via.CONNECTION_ENDS),
    ),
    find=(process_limits,),
)
