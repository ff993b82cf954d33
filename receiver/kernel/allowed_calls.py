"""The system calls that the service's processes may make after the start: the tables of the seccomp
filter.

The tables hold every call that glibc, musl, CPython, libuv, gRPC, OpenSSL and SQLite make for the
work of the service: read and write files and sockets, allocate memory, run threads, wait and read
clocks. Where a library chooses between an old and a new call (open and openat, stat and statx, poll
and ppoll), the tables hold both. They hold no call that starts a program, changes an identity, a
namespace or a mount, loads code into the kernel, or touches another process.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import msgspec


class Test(msgspec.Struct, frozen=True):
    """True when `argument & mask == value`. Only the lower 32 bits of an argument are compared."""

    argument: int
    value: int
    mask: int = 0xFFFFFFFF


Alternatives = tuple[tuple[Test, ...], ...]  # in at least one alternative, all tests must be true


class CallRules(msgspec.Struct, frozen=True):
    """`allowed`: whatever the arguments are.

    `conditional`: depends on the arguments. `absent`: answers ENOSYS, so that a library falls back
    to an older call whose arguments the filter can test. Every other call is refused.
    """

    allowed: frozenset[str]
    conditional: Mapping[str, Alternatives]
    absent: frozenset[str] = frozenset()


_FILES = (
    "read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek close "
    "close_range dup dup2 dup3 flock sendfile splice copy_file_range fsync fdatasync "
    "sync_file_range fadvise64 readahead fallocate truncate ftruncate open openat openat2 creat "
    "stat fstat lstat newfstatat statx statfs fstatfs access faccessat faccessat2 readlink "
    "readlinkat getdents getdents64 getcwd mkdir mkdirat rmdir unlink unlinkat rename renameat "
    "renameat2 link linkat "
    "chmod fchmod fchmodat umask utimensat"
)
_MEMORY = "mmap munmap mprotect mremap madvise msync mincore brk membarrier memfd_create"
_WAITING = (
    "poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait "
    "epoll_pwait2 eventfd eventfd2 pipe pipe2 futex futex_waitv nanosleep clock_nanosleep "
    "timerfd_create timerfd_settime timerfd_gettime wait4 waitid restart_syscall sched_yield"
)
_SOCKETS = (
    "socketpair connect bind listen accept accept4 getsockname getpeername getsockopt setsockopt "
    "shutdown sendto recvfrom sendmsg recvmsg sendmmsg recvmmsg"
)
_SELF = (
    "rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait sigaltstack exit "
    "exit_group set_robust_list get_robust_list rseq set_tid_address arch_prctl gettid getpid "
    "getppid getpgrp getpgid getsid getuid geteuid getgid getegid getresuid getresgid getgroups "
    "capget sched_getaffinity sched_getparam sched_getscheduler sched_getattr "
    "sched_get_priority_max sched_get_priority_min getpriority getcpu getrlimit getrusage times "
    "sysinfo uname getrandom gettimeofday time clock_gettime clock_getres pidfd_open"
)

_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
_NETLINK_ROUTE, _NETLINK_SOCK_DIAG = (
    0,
    4,
)  # addresses for getaddrinfo(3), and the samples of the fallback source
_CLONE_THREAD = 0x10000
_CLONE_OF_OTHER_KINDS = 0x7E020000  # CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}, clone(2)
_PR_GET = (
    3,
    16,
    21,
    27,
    39,
    23,
    47,
)  # DUMPABLE, NAME, SECCOMP, SECUREBITS, NO_NEW_PRIVS, CAPBSET_READ, CAP_AMBIENT
_PR_SET_NAME, _PR_SET_VMA = 15, 0x53564D41  # glibc and musl name memory areas with the latter
# TCGETS, TCGETS2 (isatty), TIOCGPGRP, TIOCOUTQ, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX;
# SIOCGIFNAME, SIOCGIFCONF, SIOCGIFFLAGS, SIOCGIFADDR, SIOCGIFINDEX (resolvers);
# F2FS_IOC_GET_FEATURES (SQLite)
_IOCTLS = (
    0x5401,
    0x802C542A,
    0x540F,
    0x5411,
    0x5413,
    0x541B,
    0x5421,
    0x5450,
    0x5451,
    0x8910,
    0x8912,
    0x8913,
    0x8915,
    0x8933,
    0x8004F50C,
)  # fmt: skip
# F_DUPFD, _GETFD, _SETFD, _GETFL, _SETFL, _GETLK, _SETLK, _SETLKW, F_OFD_{GETLK,SETLK,SETLKW},
# F_DUPFD_CLOEXEC, _SETPIPE_SZ, _GETPIPE_SZ, _ADD_SEALS, _GET_SEALS. Not F_SETOWN and F_SETSIG: with
# these the kernel sends a signal of one's choice to another process of the same user, which kill(2)
# is refused for
_FCNTLS = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1031, 1032, 1033, 1034)
# enum bpf_cmd: reading and writing maps that we hold, running iterators that we hold, asking what
# they are
_MAP_LOOKUP, _MAP_UPDATE, _MAP_DELETE, _MAP_NEXT, _LOOKUP_BATCH, _OBJ_INFO, _ITER_CREATE = (
    1,
    2,
    3,
    4,
    24,
    15,
    33,
)
_BPF_READS = (
    _MAP_LOOKUP,
    _MAP_UPDATE,
    _MAP_DELETE,
    _MAP_NEXT,
    _LOOKUP_BATCH,
    _OBJ_INFO,
    _ITER_CREATE,
)
# BPF_RAW_TRACEPOINT_OPEN, BPF_LINK_CREATE, BPF_LINK_DETACH. PROG_LOAD is not needed: all programs
# are loaded before.
_BPF_ATTACHES = (17, 28, 34)
# PERF_EVENT_IOC_ENABLE, _DISABLE, _SET_BPF: classic tracepoints
_PERF_IOCTLS = (0x2400, 0x2401, 0x40042408)


def _one_of(argument: int, values: tuple[int, ...]) -> Alternatives:
    return tuple((Test(argument, value),) for value in values)


def _base(ioctls: tuple[int, ...], bpf: tuple[int, ...]) -> dict[str, Alternatives]:
    own = os.getpid()
    return {
        "socket": (
            *_one_of(0, (_AF_UNIX, _AF_INET, _AF_INET6)),
            *(
                (Test(0, _AF_NETLINK), Test(2, protocol))
                for protocol in (_NETLINK_ROUTE, _NETLINK_SOCK_DIAG)
            ),
        ),
        "clone": ((Test(0, _CLONE_THREAD, _CLONE_THREAD | _CLONE_OF_OTHER_KINDS),),),
        "prctl": _one_of(0, (*_PR_GET, _PR_SET_NAME, _PR_SET_VMA)),
        "ioctl": _one_of(1, ioctls),
        "fcntl": _one_of(1, _FCNTLS),
        "kill": _one_of(0, (own,)),
        "tgkill": _one_of(0, (own,)),  # raise(3), abort(3)
        "prlimit64": _one_of(0, (0, own)),
        "bpf": _one_of(0, bpf),
    }


def service_rules(*, attaches: bool = False) -> CallRules:
    """For the calling process after it has attached.

    It reads rings, maps and iterators, and exports. With `attaches` it also attaches and detaches
    loaded programs: this kernel permits it and there is no helper.
    """
    allowed = frozenset(" ".join((_FILES, _MEMORY, _WAITING, _SOCKETS, _SELF)).split())
    bpf = (*_BPF_READS, *_BPF_ATTACHES) if attaches else _BPF_READS
    return CallRules(allowed, _base(_IOCTLS, bpf), frozenset({"clone3"}))


def helper_rules() -> CallRules:
    """For the helper, which attaches and detaches.

    As the service, but without listen and connect, and with the commands of bpf(2) and
    perf_event_open(2) that attach.
    """
    sockets = "socketpair getsockopt sendto recvfrom sendmsg recvmsg shutdown"
    allowed = frozenset(
        " ".join((_FILES, _MEMORY, _WAITING, sockets, _SELF, "perf_event_open")).split()
    )
    conditional = _base((*_IOCTLS, *_PERF_IOCTLS), (*_BPF_READS, *_BPF_ATTACHES)) | {"socket": ()}
    return CallRules(allowed, conditional, frozenset({"clone3"}))


_COUNTING = (
    "poll ppoll read recvmsg close brk mmap munmap mremap madvise mprotect futex rt_sigaction "
    "rt_sigprocmask rt_sigreturn restart_syscall exit exit_group getpid gettid clock_gettime"
)
_NOTIFY_IOCTLS = (
    0xC0502100,
    0xC0182101,
)  # SECCOMP_IOCTL_NOTIF_RECV and _SEND, include/uapi/linux/seccomp.h


def counter_rules() -> CallRules:
    """For the process that counts refused calls. It waits, answers, allocates memory and exits."""
    return CallRules(frozenset(_COUNTING.split()), {"ioctl": _one_of(1, _NOTIFY_IOCTLS)})
