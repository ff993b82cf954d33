"""What the fallback source sees, and what it cannot."""

from __future__ import annotations

from receiver.kernel.hooks import Coverage
from receiver.model import OF_CALLS

_SEEN = (
    ("connector", "netlink/proc", "which process started which, and how it ended"),
    ("taskstats", "netlink/taskstats", "CPU, memory and I/O of processes"),
    ("sock_diag", "netlink/sock_diag", "living connections, once a second"),
)
_NO_EVENT_OF_TASKS = (
    "thread_wait",
    "wait_stack",
    "neighbour",
    "memory_wait",
    "oom_member",
    "oom_memory",
    "fault",
    "threaded_fork",
    "holder",
)
_BLIND = (
    ("signal_generate", "who killed whom", ("signal", "signal_state", "crash", "python_stack")),
    (
        "mark_victim",
        (
            "which process the OOM killer chose: a SIGKILL together with the cgroup's OOM count "
            "is taken for it"
        ),
        ("oom_kill",),
    ),
    ("sys_exit", "files, failing calls, name queries", OF_CALLS),
    (
        "inet_sock_set_state",
        "connections that open and close between two samples",
        ("connection",),
    ),
    ("open files at death", "partial writes", ("open_file",)),
    (
        "iter/task",
        "what threads wait for, and other processes in the same memory",
        _NO_EVENT_OF_TASKS,
    ),
)
_OTHER_USERS = Coverage(
    "procfs",
    "proc/environ",
    False,
    "the service drops its privileges; privileges.drop = false keeps them",
    (
        "tasks that only an environment names; executables, working directories, I/O and "
        "connections of other users' processes"
    ),
)


def coverage(*, taskstats: bool, drops: bool) -> list[Coverage]:
    """`taskstats`: whether the kernel has it. `drops`: the service drops its privileges."""
    missing = {} if taskstats else {"taskstats": "taskstats is not available"}
    seen = [
        Coverage(name, hook, name not in missing, missing.get(name, ""), what)
        for name, hook, what in _SEEN
    ]
    blind = [
        Coverage("ebpf", hook, False, "eBPF is not used", what, kinds)
        for hook, what, kinds in _BLIND
    ]
    return [*seen, *([_OTHER_USERS] if drops else []), *blind]
