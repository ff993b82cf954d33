"""The BPF programs: where each is attached, and the purpose of each."""

from __future__ import annotations

import os

import msgspec

from receiver.events import EventKind


class Hook(msgspec.Struct, frozen=True):
    """One program: its tracepoint, the number of arguments (0: any), and what cannot be seen
    without it.

    `kind`: the events that are missing when the kernel does not run it.
    """

    program: str
    tracepoint: str
    arguments: int
    blind: str
    kind: EventKind
    required: bool = False
    iterator: bool = False
    over: str = ""  # the map of an iterator; without one it iterates over tasks
    on_demand: bool = False  # attached only while a process is watched
    syscall_hook: str = (
        ""  # how it hooks system calls, fexit or sys_exit; only the chosen kind is loaded
    )


ARM64 = os.uname().machine == "aarch64"
CALL_PREFIX = "__arm64_sys_" if ARM64 else "__x64_sys_"  # of the kernel's functions

# Calls that newer architectures never had.
_OLD_DOORS = (
    "open",
    "creat",
    "rename",
    "unlink",
    "rmdir",
    "link",
    "symlink",
    "mkdir",
    "chmod",
    "chown",
    "lchown",
    "dup2",
)

# Calls with a hook of their own if the kernel permits programs on functions (bpf/calls.bpf.c).
DOORS = (
    *(() if ARM64 else _OLD_DOORS),
    "openat",
    "openat2",
    "close",
    "read",
    "pread64",
    "readv",
    "preadv",
    "preadv2",
    "write",
    "pwrite64",
    "writev",
    "pwritev",
    "pwritev2",
    "sendfile64",
    "copy_file_range",
    "splice",
    "fsync",
    "fdatasync",
    "renameat",
    "renameat2",
    "unlinkat",
    "truncate",
    "ftruncate",
    "linkat",
    "symlinkat",
    "mkdirat",
    "fchmod",
    "fchmodat",
    "fchown",
    "fchownat",
    "mmap",
    "dup",
    "dup3",
    "fcntl",
    "close_range",
    "execve",
    "clone",
    "clone3",
    "flock",
    "connect",
    "accept",
    "accept4",
    "bind",
    "sendto",
    "sendmsg",
    "sendmmsg",
    "recvfrom",
    "recvmsg",
    "recvmmsg",
    "socket",
    "pipe2",
    "io_uring_enter",
    "listen",
    "chdir",
    "inotify_add_watch",
    "inotify_init1",
)

HOOKS = (
    Hook(
        "on_fork",
        "sched_process_fork",
        2,
        "which process started which",
        EventKind.FORK,
        required=True,
    ),
    Hook(
        "on_exec",
        "sched_process_exec",
        3,
        "which program runs, and for which task",
        EventKind.EXEC,
        required=True,
    ),
    # before on_exit: the sums of a watched process are emitted before its exit
    Hook(
        "on_watched_exit",
        "sched_process_exit",
        0,
        "the totals of a watched process at its exit",
        EventKind.FILE_TOTALS,
    ),
    Hook("on_exit", "sched_process_exit", 2, "how processes end", EventKind.EXIT),
    Hook("on_exit_legacy", "sched_process_exit", 1, "how processes end", EventKind.EXIT),
    Hook("on_title", "task_rename", 2, "titles that workers give themselves", EventKind.TITLE),
    Hook("on_signal", "signal_generate", 5, "who killed whom", EventKind.SIGNAL),
    # after on_signal: the sender and the target's state belong to the signal that was told of
    Hook(
        "on_signal_state",
        "signal_generate",
        5,
        "what a process was doing when it was killed, and who its killer belongs to",
        EventKind.SIGNAL_STATE,
    ),
    Hook(
        "on_crash", "signal_generate", 5, "where native code was when it crashed", EventKind.CRASH
    ),
    Hook(
        "on_signal_delivery",
        "signal_deliver",
        3,
        "which file a process was writing when it received a signal to end",
        EventKind.OPEN_FILE,
    ),
    Hook(
        "on_last_words",
        "signal_deliver",
        3,
        "the Python function and line that a process was in when a signal ended it",
        EventKind.PYTHON_STACK,
    ),
    # before on_oom_kill: whoever reads of the kill knows who held the memory
    Hook(
        "on_oom_memory",
        "mark_victim",
        2,
        "who held the memory of an OOM kill, and what it consisted of",
        EventKind.OOM_MEMORY,
    ),
    Hook("on_oom_kill", "mark_victim", 2, "the OOM killer's choice", EventKind.OOM_KILL),
    Hook(
        "on_call",
        "sys_exit",
        2,
        "files, failing calls; while a task is watched, every call on the host costs about 0.03 µs",
        EventKind.FILE_OPENED,
        on_demand=True,
        syscall_hook="sys_exit",
    ),
    *(
        Hook(
            f"door_{call}",
            f"{CALL_PREFIX}{call}",
            0,
            "",
            EventKind.FILE_OPENED,
            on_demand=True,
            syscall_hook="fexit",
        )
        for call in DOORS
    ),
    Hook(
        "on_posix_lock",
        "posix_lock_inode",
        3,
        "who holds a lock that was refused",
        EventKind.CALL_FAILED,
        on_demand=True,
    ),
    Hook(
        "on_flock",
        "flock_lock_inode",
        3,
        "who holds a lock that was refused",
        EventKind.CALL_FAILED,
        on_demand=True,
    ),
    Hook("on_socket_state", "inet_sock_set_state", 3, "TCP connections", EventKind.CONNECTION),
    Hook(
        "on_reset_received",
        "tcp_receive_reset",
        1,
        "which peer broke a connection",
        EventKind.CONNECTION,
    ),
    Hook(
        "on_reset_sent",
        "tcp_send_reset",
        0,
        "which connection this host reset",
        EventKind.CONNECTION,
    ),
    Hook(
        "on_sockets",
        "",
        0,
        "living connections, once a second",
        EventKind.CONNECTION,
        iterator=True,
        over="connections",
    ),
    Hook(
        "on_tasks",
        "",
        0,
        "memory, CPU and wait times, once a second",
        EventKind.PROCESS_SAMPLE,
        iterator=True,
    ),
    Hook(
        "on_young_tasks",
        "",
        0,
        "memory and CPU time of processes in their first two seconds, five times a second",
        EventKind.EARLY_SAMPLE,
        iterator=True,
    ),
    Hook(
        "on_existing",
        "",
        0,
        "processes that started before kwitness attached",
        EventKind.EXISTING,
        iterator=True,
    ),
)
ALTERNATIVES = {"on_exit": "on_exit_legacy", "on_exit_legacy": "on_exit"}

# No hook sees these on any kernel. A report says so for the processes and files concerned.
BLIND_SPOTS = (
    "bytes read or written through a mapping (the file is marked as mapped)",
    "reads and writes through io_uring (its use is counted per process)",
    "system calls through the 32-bit entry (counted)",
)


class Coverage(msgspec.Struct, frozen=True):
    """The state of one hook. `why` is empty when it is attached.

    `kinds`: names of the events that are missing without it.
    """

    program: str
    hook: str
    attached: bool
    why: str
    blind: str
    kinds: tuple[str, ...] = ()
