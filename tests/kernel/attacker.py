"""A process that confines itself as the service does and then tries what it should not:
`python -m tests.kernel.attacker PLACE`.

It prints one line of JSON: what each attempt came to ("done" or an errno), and what was counted.
"""

from __future__ import annotations

import ctypes
import encodings.idna  # noqa: F401  the user may not be able to read our Python
import errno
import json
import os
import signal
import socket
import sqlite3
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from receiver.calls import NUMBERS
from receiver.kernel.confinement import Confinement
from receiver.kernel.privileges import drop

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
THREADS, TIMES = 4, 250


def raw(number: int, *arguments: int) -> None:
    """One system call; raises what it fails with."""
    if libc.syscall(ctypes.c_long(number), *(ctypes.c_long(a) for a in arguments)) < 0:
        raise OSError(ctypes.get_errno(), "")


def call(name: str, *arguments: int) -> Callable[[], None]:
    return lambda: raw(NUMBERS[name], *arguments)


def fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def thread() -> None:
    ran: list[int] = []
    new = threading.Thread(target=ran.append, args=(1,))
    new.start()
    new.join()
    assert ran


def database(place: Path) -> None:
    db = sqlite3.connect(place / "a.db")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE t (x)")
    db.execute("INSERT INTO t VALUES (1)")
    db.commit()
    db.close()


def replaced(place: Path) -> None:
    (place / "x.tmp").write_text("x")
    (place / "x.tmp").replace(place / "x")
    (place / "x").unlink()


def refused(victim: int, outside: Path) -> dict[str, Callable[[], object]]:
    """By the name of the call that the filter counts; "" after the dot for a second attempt of the
    same call."""
    return against_processes(victim) | against_the_kernel() | against_the_host(victim, outside)


def against_processes(victim: int) -> dict[str, Callable[[], object]]:
    """New programs and namespaces, and what reaches into other processes."""
    return {
        "execve": lambda: os.execv("/bin/true", ["true"]),
        "clone": fork,
        "clone.newuser": call("clone", 0x10000000 | 17, 0, 0, 0, 0),
        "unshare": call("unshare", 0x10000000),
        "setns": call("setns", 0, 0),
        "mount": call("mount", 0, 0, 0, 0, 0),
        "fsopen": call("fsopen", 0, 0),
        "chroot": lambda: os.chroot("/"),
        "ptrace": call("ptrace", 16, victim, 0, 0),
        "process_vm_readv": call("process_vm_readv", victim, 0, 0, 0, 0, 0),
        "pidfd_getfd": call("pidfd_getfd", 0, 0, 0),
        "kill": lambda: os.kill(victim, signal.SIGKILL),
        "kill.own_group": lambda: os.kill(0, signal.SIGTERM),
        "kill.everybody": lambda: os.kill(-1, signal.SIGTERM),
        "tgkill": call("tgkill", victim, victim, 9),
        "tkill": call("tkill", victim, 9),
        "rt_sigqueueinfo": call("rt_sigqueueinfo", victim, 9, 0),
        "pidfd_send_signal": call("pidfd_send_signal", 0, 9, 0, 0),
    }


def against_the_kernel() -> dict[str, Callable[[], object]]:
    """Sockets of rare families, and parts of the kernel that had many faults."""
    return {
        "socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM),
        "socket.vsock": lambda: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM),
        "socket.alg": lambda: socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET),
        "socket.netfilter": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12),
        "init_module": call("init_module", 0, 0, 0),
        "finit_module": call("finit_module", 0, 0, 0),
        "kexec_load": call("kexec_load", 0, 0, 0, 0),
        "bpf": call("bpf", 5, 0, 0),
        "bpf.map_create": call("bpf", 0, 0, 0),
        "perf_event_open": call("perf_event_open", 0, 0, 0, 0, 0),
        "io_uring_setup": call("io_uring_setup", 1, 0),
        "userfaultfd": call("userfaultfd", 0),
    }


def against_the_host(victim: int, outside: Path) -> dict[str, Callable[[], object]]:
    """Rights, limits and owners, and what only an administrator may do."""
    return {
        "keyctl": call("keyctl", 0, 0),
        "personality": call("personality", 0xFFFFFFFF),
        "setuid": lambda: os.setuid(0),
        "setresuid": lambda: os.setresuid(0, 0, 0),
        "capset": call("capset", 0, 0),
        "prctl": call("prctl", 4, 1, 0, 0, 0),
        "prctl.seccomp": call("prctl", 22, 1, 0, 0, 0),
        "ioctl": call("ioctl", 0, 0x5412, 0),  # TIOCSTI
        "prlimit64": call("prlimit64", victim, 7, 0, 0),
        "chown": lambda: os.chown(outside, 0, 0),
        "setxattr": call("setxattr", 0, 0, 0, 0, 0),
        "symlink": lambda: os.symlink("/etc/passwd", outside / "link"),
        "mknodat": lambda: os.mkfifo(outside / "fifo"),
        "reboot": call("reboot", 0, 0, 0, 0),
        "swapon": call("swapon", 0, 0),
        "settimeofday": call("settimeofday", 0, 0),
        "acct": call("acct", 0),
        "vmsplice": call("vmsplice", 0, 0, 0, 0),
    }


def files(outside: Path) -> dict[str, Callable[[], object]]:
    """What Landlock refuses, where the kernel has it: the user may do all of it."""
    return {
        "write": lambda: (outside / "new").write_text("x"),
        "overwrite": lambda: (outside / "theirs").write_text("x"),
        "read": lambda: (outside / "theirs").read_text(),
        "list": lambda: os.listdir(outside),
        "delete": lambda: (outside / "theirs").unlink(),
        "directory": lambda: (outside / "made").mkdir(),
    }


def needed(place: Path) -> dict[str, Callable[[], object]]:
    return {
        "thread": thread,
        "database": lambda: database(place),
        "replace": lambda: replaced(place),
        "resolve": lambda: socket.getaddrinfo("localhost", 80),
        "listen": lambda: socket.create_server(("127.0.0.1", 0)).close(),
        "random": lambda: os.urandom(8),
        "tls": ssl.create_default_context,
        "null": lambda: Path("/dev/null").write_text("x"),
        "self": lambda: Path("/proc/self/status").read_text(),
        "name": call("prctl", 15, 0, 0, 0, 0),  # EFAULT of the kernel, not EPERM of the filter
        "exists": lambda: os.kill(os.getpid(), 0),
    }


def outcome(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error.errno))
    return "done"


def storm() -> Counter[str]:
    """Makes refused calls from several threads while somebody sends us signals.

    A signal that arrives before the counter has received the call ends it with EINTR, or restarts
    it; both are uncounted. Returns what the calls came to.
    """
    signal.signal(signal.SIGUSR1, lambda *_: None)
    print("storm", flush=True)
    came_to: list[str] = []
    threads = [
        threading.Thread(
            target=lambda: came_to.extend(outcome(call("syncfs", 0)) for _ in range(TIMES))
        )
        for _ in range(THREADS)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    # a late one must not meet the default action, which returns when the interpreter ends
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    return Counter(came_to)


def main() -> None:
    place, outside, victim = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    confinement = Confinement()
    drop("nobody")
    confinement.service((), [str(place)])
    said = {
        "refused": {name: outcome(attempt) for name, attempt in refused(victim, outside).items()},
        "newer": outcome(lambda: raw(500)),
        "x32": outcome(lambda: raw(0x40000000 | NUMBERS["getpid"])),
        "files": {name: outcome(attempt) for name, attempt in files(outside).items()},
        "needed": {name: outcome(attempt) for name, attempt in needed(place).items()},
        "notes": confinement.notes,
    }
    said["storm"] = storm()
    confinement.report()
    said["counts"] = {d.call: d.count for d in confinement.denied() if d.who == "service"}
    print(json.dumps(said), flush=True)
    if "--then-kill-counter" in sys.argv:
        print(confinement._counter.pid, flush=True)  # type: ignore[union-attr]
        deadline = time.monotonic() + 30
        while outcome(call("syncfs", 0)) != "ENOSYS" and time.monotonic() < deadline:
            os.sched_yield()
        while (
            confinement._counter is not None and time.monotonic() < deadline
        ):  # its end comes after that of its descriptors
            confinement.report()
        print(
            json.dumps(
                {"after": outcome(call("syncfs", 0)), "alive": confinement._counter is not None}
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
