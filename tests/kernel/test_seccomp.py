"""The filters as the kernel would run them, call by call, on both architectures:
no privilege is needed for that."""

from __future__ import annotations

import errno
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from receiver.kernel.allowed_calls import CallRules, counter_rules, helper_rules, service_rules
from receiver.kernel.call_tables import Architecture, architecture
from receiver.kernel.seccomp import program, ringless

ROOT = Path(__file__).parent.parent.parent
ALLOW, NOTIFY, ERRNO = 0x7FFF0000, 0x7FC00000, 0x00050000


def known(machine: str) -> Architecture:
    found = architecture(machine)
    assert found is not None
    return found


X86, ARM = known("x86_64"), known("aarch64")
BOTH = pytest.mark.parametrize("arch", [X86, ARM], ids=["x86_64", "aarch64"])
RULES = {"service": service_rules, "helper": helper_rules, "counter": counter_rules}
EACH = pytest.mark.parametrize("rules", RULES.values(), ids=RULES)


def run(code: bytes, number: int, audit: int, *arguments: int) -> int:
    """Classic BPF over struct seccomp_data, as net/core/filter.c does it."""
    data = struct.pack("=IIQ6Q", number, audit, 0, *(*arguments, 0, 0, 0, 0, 0, 0)[:6])
    lines = list(struct.iter_unpack("=HBBI", code))
    at, accumulator = 0, 0
    while True:
        operation, when_true, when_false, k = lines[at]
        at += 1
        match operation:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", data, k)
            case 0x54:
                accumulator &= k
            case 0x05:
                at += k
            case 0x15:
                at += when_true if accumulator == k else when_false
            case 0x35:
                at += when_true if accumulator >= k else when_false
            case 0x06:
                return int(k)
            case _:
                raise AssertionError(f"unknown operation {operation:#x}")


def verdict(rules: CallRules, arch: Architecture, name: str, *arguments: int) -> int:
    return run(program(rules, arch, counted=True), arch.numbers[name], arch.audit, *arguments)


@BOTH
@EACH
def test_every_number_gets_what_the_tables_say(rules: object, arch: Architecture) -> None:
    table = rules()  # type: ignore[operator]
    code = program(table, arch, counted=True)
    for number in range(600):
        name = arch.name(number)
        found = run(code, number, arch.audit, *(0xFFFF_FFF0,) * 6)
        if name in table.conditional:
            assert found == NOTIFY, name
        elif name in table.absent:
            assert found == ERRNO | errno.ENOSYS
        else:
            assert found == (ALLOW if name in table.allowed else NOTIFY), name


@BOTH
@EACH
def test_the_kernel_takes_programs_of_this_size(rules: object, arch: Architecture) -> None:
    # BPF_MAXINSNS
    assert len(program(rules(), arch, counted=True)) // 8 <= 4096  # type: ignore[operator]


@BOTH
def test_without_a_listener_the_kernel_answers_itself(arch: Architecture) -> None:
    code = program(service_rules(), arch, counted=False)
    assert run(code, arch.numbers["execve"], arch.audit) == ERRNO | errno.EPERM
    assert run(code, arch.numbers["read"], arch.audit) == ALLOW


def test_other_architectures_and_x32_are_refused() -> None:
    code = program(service_rules(), X86, counted=True)
    assert run(code, 3, 0x40000003) == NOTIFY  # i386: read, which is close on x86-64
    assert run(code, X86.numbers["read"] | 0x40000000, X86.audit) == NOTIFY
    assert run(code, X86.numbers["read"], ARM.audit) == NOTIFY


@BOTH
def test_what_depends_on_arguments(arch: Architecture) -> None:
    own = os.getpid()
    thread, fork = 0x3D0F00, 0x01200011
    cases: list[tuple[str, tuple[int, ...], bool]] = [
        ("clone", (thread,), True),
        ("clone", (fork,), False),
        ("clone", (thread | 0x10000000,), False),
        ("clone", (thread | 0x20000,), False),
        ("socket", (2, 1, 0), True),
        ("socket", (10, 1 | 0o2000000, 6), True),
        ("socket", (1, 2, 0), True),
        ("socket", (16, 3, 0), True),
        ("socket", (16, 3, 4), True),
        ("socket", (16, 3, 12), False),
        ("socket", (17, 3, 0), False),
        ("bpf", (1,), True),
        ("bpf", (33,), True),
        ("bpf", (5,), False),
        ("bpf", (28,), False),
        ("bpf", (17,), False),
        ("fcntl", (3, 6), True),
        ("fcntl", (3, 1030), True),
        ("fcntl", (3, 8, 1), False),
        ("fcntl", (3, 10, 9), False),
        ("fcntl", (3, 15), False),
        ("kill", (own, 9), True),
        ("kill", (1, 9), False),
        ("kill", (0, 15), False),
        ("kill", (0xFFFFFFFF, 9), False),
        ("prctl", (15,), True),
        ("prctl", (0x53564D41,), True),
        ("prctl", (4,), False),
        ("prctl", (28,), False),
        ("ioctl", (0, 0x5413), True),
        ("ioctl", (0, 0x5412), False),
        ("ioctl", (0, 0xC0502100), False),
        ("prlimit64", (0, 7), True),
        ("prlimit64", (own, 7), True),
        ("prlimit64", (1, 7), False),
    ]
    for name, arguments, allowed in cases:
        assert verdict(service_rules(), arch, name, *arguments) == (ALLOW if allowed else NOTIFY), (
            name,
            arguments,
        )


@BOTH
def test_the_helper_attaches_and_connects_nowhere(arch: Architecture) -> None:
    for name, arguments, allowed in [
        ("bpf", (17,), True),
        ("bpf", (28,), True),
        ("bpf", (5,), False),
        ("bpf", (0,), False),
        ("perf_event_open", (), True),
        ("ioctl", (0, 0x2400), True),
        ("socket", (2, 1, 0), False),
        ("socket", (1, 1, 0), False),
        ("connect", (), False),
        ("listen", (), False),
    ]:
        assert verdict(helper_rules(), arch, name, *arguments) == (ALLOW if allowed else NOTIFY), (
            name,
            arguments,
        )


@EACH
def test_nothing_dangerous_is_allowed_by_anybody(rules: object) -> None:
    table: CallRules = rules()  # type: ignore[operator]
    dangerous = (
        "execve execveat fork vfork clone3 ptrace process_vm_readv process_vm_writev "
        "process_madvise pidfd_getfd pidfd_send_signal tkill rt_sigqueueinfo rt_tgsigqueueinfo "
        "mount umount2 move_mount open_tree fsopen fsmount fsconfig mount_setattr pivot_root "
        "chroot unshare setns init_module finit_module delete_module kexec_load kexec_file_load "
        "reboot swapon swapoff io_uring_setup io_uring_enter io_uring_register userfaultfd keyctl "
        "add_key request_key setuid setgid setresuid setresgid setreuid setregid setgroups "
        "setfsuid setfsgid capset chown fchown lchown fchownat mknod mknodat iopl ioperm "
        "modify_ldt personality quotactl acct syslog settimeofday clock_settime adjtimex "
        "clock_adjtime sethostname setdomainname open_by_handle_at name_to_handle_at "
        "fanotify_init lookup_dcookie move_pages migrate_pages mbind kcmp seccomp "
        "landlock_restrict_self vmsplice setpgid setsid setpriority sched_setscheduler"
    )
    assert table.allowed & set(dangerous.split()) == set()


@BOTH
@EACH
def test_names_are_those_of_the_kernel(rules: object, arch: Architecture) -> None:
    """A name that no architecture has is a slip of the pen, and would be refused."""
    table: CallRules = rules()  # type: ignore[operator]
    everywhere = X86.numbers.keys() | ARM.numbers.keys()
    assert (table.allowed | table.conditional.keys() | table.absent) - everywhere == set()
    assert table.absent <= arch.numbers.keys()


@pytest.mark.parametrize(
    ("header", "arch"),
    [
        ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", X86),
        ("/usr/include/asm-generic/unistd.h", ARM),
    ],
    ids=["x86_64", "aarch64"],
)
def test_numbers_are_those_of_the_headers(header: str, arch: Architecture) -> None:
    if not Path(header).exists():
        pytest.skip(f"{header} is not installed (linux-libc-dev)")
    found = {
        name: int(n)
        for name, n in re.findall(
            r"^#define __NR(?:3264)?_(\w+)\s+(\d+)$", Path(header).read_text(), re.M
        )
    }
    found = {"newfstatat" if name == "fstatat" else name: n for name, n in found.items()}
    common = arch.numbers.keys() & found.keys()
    assert len(common) > 280
    assert {
        name: (arch.numbers[name], found[name])
        for name in common
        if arch.numbers[name] != found[name]
    } == {}


@BOTH
def test_before_the_start_only_rings_are_missing(arch: Architecture) -> None:
    for number in (*range(600), *(0x40000000 + n for n in range(600))):
        rings = number & ~0x40000000 == arch.numbers["io_uring_setup"]
        assert run(ringless(arch), number, arch.audit) == (ERRNO | errno.ENOSYS if rings else ALLOW)


def test_uvloop_runs_without_a_ring() -> None:
    code = (
        "import asyncio, uvloop\nfrom receiver.kernel.seccomp import forbid_rings\nforbid_rings()\n"
        "from tests.conftest import open_descriptors\n"
        "async def main():\n"
        "    server = await asyncio.start_server(lambda r, w: w.close(), '127.0.0.1', 0)\n"
        "    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())\n"
        "    names = open_descriptors().values()\n"
        "    print(await reader.read(), [name for name in names if 'uring' in name])\n"
        "    writer.close()\n    server.close()\n"
        "uvloop.run(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "b'' []\n"), done.stderr


def test_an_unknown_machine_has_no_filter() -> None:
    assert architecture("s390x") is None
