"""Cause classes of calls that the kernel refused, and of processes that were stopped."""

from __future__ import annotations

from receiver.investigate.class_tables.base import CauseClass, Via, cause_class, to

CLASSES: tuple[CauseClass, ...] = (
    cause_class(
        name="fs.path_missing",
        title="a path that it needed did not exist",
        predicts="a path that did not exist in the last call that failed",
        rivals="proc.interpreter fs.eacces fs.path_exists",
        tag="make_path_first",
        fix=(
            "Let the step that makes the path finish first, and remove or rename it only after "
            "its last reader. If nothing makes it, correct the path."
        ),
        needs="last_failure file_changed",
    ),
    cause_class(
        name="fs.path_exists",
        title="a path existed that it wanted to create",
        predicts="a path that existed in the last call that failed",
        rivals="fs.lock fs.path_missing fs.eacces",
        tag="unique_path",
        fix=(
            "Give each run a path of its own, or accept one that exists. Remove a stale pid, lock "
            "or socket file after you have checked that its maker has ended."
        ),
        needs="last_failure file_changed",
    ),
    cause_class(
        name="fs.path_unusable",
        title="a path could not be used in the way that it tried",
        predicts="EXDEV, ELOOP, EISDIR or ENAMETOOLONG in the last call that failed",
        rivals="fs.path_missing fs.eacces",
        tag="correct_path",
        fix="Correct the path: the error says what is wrong with it.",
        needs="last_failure",
    ),
    cause_class(
        name="fs.gone",
        title="a device or a mount was gone",
        predicts="ESTALE, ENODEV, ENXIO or EIO in the last call that failed",
        rivals="fs.slow_io fs.path_missing fs.netfs",
        tag="restore_mount",
        fix="Check the device, its mount and the file server; mount it again, then run the step.",
        needs="last_failure",
    ),
    cause_class(
        name="proc.exec_refused",
        title="the kernel refused to execute a program",
        predicts="an exec that failed for another reason than its file",
        rivals="proc.interpreter fs.eacces lim.pids",
        tag="close_before_exec",
        fix=(
            "ETXTBSY: close the file before it is executed, and open it with O_CLOEXEC, so that "
            "no child keeps it open. E2BIG: pass long lists by a file or standard input."
        ),
        needs="call_failed",
        brings=(to("proc.interpreter", Via.ANCESTOR),),
    ),
    cause_class(
        name="net.port_in_use",
        title="another process had the port",
        predicts="EADDRINUSE of bind or listen",
        rivals="net.ports net.backlog_refused fs.eacces",
        tag="free_port",
        fix="End the other process or give each one a port of its own (port 0 chooses a free one).",
        needs="last_failure",
    ),
    cause_class(
        name="lim.inotify",
        title="a limit of inotify was reached",
        predicts="ENOSPC of inotify_add_watch or EMFILE of inotify_init",
        rivals="fs.enospc lim.emfile",
        tag="raise_inotify",
        fix=(
            "Raise fs.inotify.max_user_watches (ENOSPC of inotify_add_watch) or "
            "fs.inotify.max_user_instances (EMFILE of inotify_init) with sysctl, or watch fewer "
            "directories. A user namespace has its own in user.max_inotify_*."
        ),
        needs="call_failed",
    ),
    cause_class(
        name="hang.pipe_held",
        title="it waited for the end of a pipe that a left-over helper kept open",
        predicts="a writing end that a helper of an ended child has open",
        rivals="hang.pipe_full kill.timeout_orphan hang.fork_lock",
        tag="close_the_pipe",
        fix=(
            "Redirect or close the helper's output where it is started (>file 2>&1), or end the "
            "helper with its step. A runner can also wait for its child and not for the pipe."
        ),
        needs="thread_wait holder",
        brings=(
            to("kill. hang.", Via.ANCESTOR),
            to("net.silent_peer", Via.CONNECTION_ENDS),
        ),
    ),
    cause_class(
        name="hang.fifo_partner",
        title="it waited to open a FIFO that nobody opened on the other side",
        predicts="a thread in the kernel's fifo_open",
        rivals="hang.pipe_full hang.pipe_held fs.slow_io",
        tag="open_both_ends",
        fix=(
            "Start the other side first, or find out why it did not open the FIFO. Open with "
            "O_NONBLOCK or O_RDWR if it may be late."
        ),
        needs="thread_wait wait_stack",
        brings=(
            to("kill. hang.", Via.ANCESTOR),
            to("net.silent_peer", Via.CONNECTION_ENDS),
        ),
    ),
    cause_class(
        name="hang.stopped",
        title="job control stopped it, and nobody continued it",
        predicts="a stopped thread",
        rivals="hang.fork_lock hang.pipe_full fs.slow_io",
        tag="continue_it",
        fix=(
            "Continue it (kill -CONT). If the terminal stopped it, give it standard input from "
            "/dev/null and its output to a file, or run it in the foreground."
        ),
        needs="thread_wait signal",
        brings=(
            to("kill. hang.", Via.ANCESTOR),
            to("net.silent_peer", Via.CONNECTION_ENDS),
        ),
    ),
)
