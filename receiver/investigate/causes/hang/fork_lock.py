"""The cause card hang.fork_lock."""

from __future__ import annotations

from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.causes.hangs import hangs

CARD = cause_class(
    name="hang.fork_lock",
    title="a child of a threaded process waits for a lock that no thread can release",
    predicts="a single-threaded fork of a threaded parent that waits forever in futex",
    rivals="hang.pipe_full net.silent_peer fs.slow_io",
    tag="spawn",
    fix=("Start children with spawn or forkserver, not with fork from a process with threads."),
    needs="thread_wait",
    brings=(
        to("kill.", Via.ANCESTOR),
        to("net.silent_peer", Via.CONNECTION_ENDS),
    ),
    find=(hangs,),
)
