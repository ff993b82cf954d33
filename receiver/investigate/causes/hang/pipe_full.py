"""The cause card hang.pipe_full."""

from __future__ import annotations

from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.causes.hangs import hangs

CARD = cause_class(
    name="hang.pipe_full",
    title="two processes wait for each other at a pipe",
    predicts="a wait on a pipe whose other end waits, too",
    rivals="hang.fork_lock net.silent_peer",
    tag="drain_pipes",
    fix=(
        "Read the child's output while it runs (communicate(), a thread for each "
        "pipe), or write it to a file."
    ),
    needs="thread_wait",
    brings=(
        to("kill.", Via.ANCESTOR),
        to("net.silent_peer", Via.CONNECTION_ENDS),
        to("hang.", Via.PARENT),
    ),
    find=(hangs,),
)
