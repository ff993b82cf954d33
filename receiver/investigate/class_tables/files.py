"""Cause classes of files and file systems."""

from __future__ import annotations

from receiver.investigate.class_tables.base import CauseClass, Nature, Via, cause_class, to

CLASSES: tuple[CauseClass, ...] = (
    cause_class(
        name="fs.truncated",
        title=(
            "a writer was ended in the middle of a file, and the next step used the incomplete file"
        ),
        predicts="a file left open by a writer that was ended",
        rivals="fs.read_early fs.enospc fs.stale_input none.not_visible",
        tag="atomic_write",
        fix=(
            "Write to a temporary name, fsync, then rename. Let the reader wait for the "
            "task's success or for a marker file."
        ),
        needs="open_file file_opened signal",
        spreads=True,
        begins_with=(to("kill. mem. crash. fs.", Via.SAME_FILE),),
    ),
    cause_class(
        name="fs.read_early",
        title="a file was read while it was still being written",
        predicts="a reader that finished before the writer",
        rivals="fs.truncated fs.stale_input fs.concurrent_writers",
        tag="wait_for_marker",
        fix=(
            "Let the reader wait until the writer has finished (dependency, rename into "
            "place, marker file)."
        ),
        needs="file_opened",
        spreads=True,
    ),
    cause_class(
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
    ),
    cause_class(
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
    ),
    cause_class(
        name="fs.lock",
        title="a lock that another process holds was refused",
        predicts="a lock that was refused",
        rivals="fs.eacces fs.concurrent_writers db.lock_wait",
        tag="serialise",
        fix=(
            "Run the two one after the other, or open read-only. Remove a stale lock "
            "after you have checked its owner."
        ),
        needs="call_failed",
        brings=(to("net.reset_short", Via.CONNECTION_ENDS),),
    ),
    cause_class(
        name="fs.eacces",
        title="it had no permission for a file",
        predicts="a file operation that was denied",
        rivals="fs.enospc proc.interpreter fs.lock",
        tag="fix_ownership",
        fix=(
            "Set the owner or the mode of the path (or mount it writable) for the user that the "
            "task runs as."
        ),
        needs="call_failed",
        brings=(to("net.reset_short", Via.CONNECTION_ENDS),),
    ),
    cause_class(
        name="fs.concurrent_writers",
        title="two writers had one file open at the same time",
        predicts="two writers of one file at the same time",
        rivals="fs.read_early proc.duplicate_run fs.truncated",
        tag="unique_path",
        fix="Give each writer a path of its own, or run them one after the other.",
        needs="file_opened",
        spreads=True,
        begins_with=(
            to("fs.", Via.SAME_FILE),
            to("fs.", Via.SAME),
        ),
    ),
    cause_class(
        name="fs.replaced",
        title="a file was replaced, truncated or deleted while it was read",
        predicts="a change to a file that its reader had open",
        rivals="mem.shm_full crash.segv fs.read_early",
        tag="immutable_inputs",
        fix=(
            "Write new versions under new names, and delete old ones only when no reader uses them."
        ),
        needs="file_opened file_changed",
        spreads=True,
        brings=(
            to("crash.", Via.SAME),
            to("net.reset_short", Via.CONNECTION_ENDS),
        ),
    ),
    cause_class(
        name="fs.stale_input",
        title="it read an older file instead of this run's file",
        predicts="an input that this run did not write",
        rivals="fs.read_early fs.truncated none.not_visible",
        tag="freshness_gate",
        fix=(
            "Put the run's id or date into the path, and check that the input belongs to this run."
        ),
        visible="P",
        needs="file_opened",
        spreads=True,
    ),
    cause_class(
        name="fs.netfs",
        title="a network file system did not answer",
        predicts="a wait on a network file system",
        rivals="fs.slow_io net.silent_peer",
        tag="check_file_server",
        fix="Check the file server and its network; mount with a timeout (soft).",
        needs="thread_wait",
        nature=Nature.DELAY,
        brings=(to("kill.supervisor kill.timeout_orphan kill.heartbeat", Via.ANCESTOR),),
    ),
    cause_class(
        name="fs.slow_io",
        title="storage stalled",
        predicts="threads that waited for storage in uninterruptible sleep",
        rivals="mem.thrash cpu.neighbour net.silent_peer",
        tag="check_storage",
        fix="Check the device or its I/O limit. Nothing in the process itself was slow.",
        needs="process_sample",
        nature=Nature.DELAY,
        brings=(
            to("kill.supervisor kill.timeout_orphan kill.heartbeat", Via.ANCESTOR),
            to("net.silent_peer", Via.CONNECTION_ENDS),
        ),
    ),
)
