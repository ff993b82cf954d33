"""How cause classes relate: which one follows from which, and which belong to one incident.

A name that ends with a dot stands for a family of classes.
"""

from __future__ import annotations

# Maps an effect to its possible causes.
EFFECTS: dict[str, tuple[str, ...]] = {
    "proc.exit_masked": (
        "kill.swallowed",
        "mem.child_oom",
        "fs.enospc",
        "fs.inodes_quota",
        "hang.",
        "kill.timeout_orphan",
    ),
    "fs.truncated": ("fs.enospc", "fs.inodes_quota"),
    "kill.supervisor": (
        "hang.",
        "kill.drain",
        "kill.timeout_orphan",
        "kill.heartbeat",
        "kill.probe",
        "kill.swallowed",
        "mem.userspace_killer",
        "db.lock_wait",
        "fs.slow_io",
        "mem.child_oom",
    ),
    "kill.drain": ("kill.probe",),
    "kill.timeout_orphan": (
        "hang.",
        "kill.probe",
        "kill.heartbeat",
        "db.lock_wait",
        "mem.child_oom",
        "fs.slow_io",
    ),
    "kill.heartbeat": ("hang.",),
    "net.silent_peer": (
        "kill.heartbeat",
        "net.backlog_refused",
        "db.lock_wait",
        "net.credential",
        "net.pool",
        "net.mtu",
        "mem.child_oom",
        "net.idle_drop",
        "hang.",
    ),
    "net.pool": ("net.credential",),
    "net.reset_short": (
        "mem.",
        "kill.",
        "net.idle_drop",
        "net.pool",
        "crash.",
        "lim.",
        "fs.",
        "proc.interpreter",
    ),
    "net.backlog_refused": ("mem.", "kill.", "crash."),
    "net.ports": (),
    "fs.concurrent_writers": ("proc.duplicate_run",),
    "fs.slow_io": ("mem.thrash",),
    "fs.eacces": ("proc.interpreter",),
    "cpu.neighbour": ("cpu.quota", "data.skew", "mem.thrash"),
    "data.skew": ("mem.", "cpu.quota"),
    "crash.segv": ("fs.replaced", "mem.shm_full", "mem.rlimit"),
    "crash.abort_ill": ("mem.rlimit", "lim.pids"),
    "hang.pipe_full": ("mem.child_oom",),
    "hang.fork_lock": ("mem.child_oom",),
    "hang.gc_stall": ("mem.app_heap",),
    "lim.pids": ("proc.zombies",),
    "net.dns": ("lim.",),
}
# Maps a cause to classes that belong to the same incident and are never reported as another one.
PARTS: dict[str, tuple[str, ...]] = {
    "fs.truncated": ("kill.", "mem.", "crash.", "proc.exit_masked", "fs."),
    "kill.swallowed": ("kill.", "fs.truncated"),
    "proc.exit_masked": ("kill.", "mem.", "crash.", "fs.", "net.", "lim.", "proc."),
    "mem.cgroup_oom": ("proc.exit_masked", "kill.", "net.reset_short", "data.skew"),
    "mem.child_oom": ("kill.", "net.", "hang.", "proc."),
    "hang.fork_lock": ("kill.", "proc."),
    "hang.pipe_full": ("kill.", "proc.", "hang."),
    "fs.concurrent_writers": ("fs.", "proc.duplicate_run"),
    "proc.duplicate_run": ("fs.",),
}
# If the task reported success, these causes rank below proc.exit_masked of the same process.
MASKABLE = ("mem.cgroup_oom", "kill.supervisor", "crash.", "kill.drain", "mem.rlimit")


def matches(cause: str, names: tuple[str, ...]) -> bool:
    """Whether the class is one of the names, or belongs to a family among them."""
    return any(cause == name or (name.endswith(".") and cause.startswith(name)) for name in names)


def explains(effect: str, cause: str) -> bool:
    """Whether the class `effect` can be a consequence of the class `cause`."""
    return matches(cause, EFFECTS.get(effect, ()))


def belongs(cause: str, lead: str) -> bool:
    """Whether a candidate of this class is a part of an incident that `lead` explains."""
    return matches(cause, PARTS.get(lead, ()))


def is_maskable(cause: str) -> bool:
    """Whether it ranks below a masked exit status of the same process."""
    return matches(cause, MASKABLE)
