"""Cause classes of processes that wait for ever."""

from __future__ import annotations

from receiver.investigate.class_tables.base import CauseClass, Via, cause_class, to

CLASSES: tuple[CauseClass, ...] = (
    cause_class(
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
    ),
    cause_class(
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
    ),
    cause_class(
        name="hang.gc_stall",
        title="garbage collection used all the time",
        predicts="a busy JVM that transfers no data",
        rivals="mem.app_heap cpu.quota kill.heartbeat",
        tag="raise_heap",
        fix="Raise the heap limit or split the work; read the collector's log.",
        visible="P",
        needs="process_sample",
        brings=(
            to("kill.", Via.ANCESTOR),
            to("net.silent_peer", Via.CONNECTION_ENDS),
        ),
    ),
)
