"""Kernel time (CLOCK_BOOTTIME, ns) and its distance to wall time. The only module that reads a clock for events."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import time
from itertools import pairwise
from pathlib import Path

from receiver.errors import UnavailableError
from receiver.events import ProcessKey


def boottime_ns() -> int:
    """CLOCK_BOOTTIME: what bpf_ktime_get_boot_ns stamps on every record; goes on during suspend."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def wall_offset_ns() -> int:
    """Unix time minus boot time, the tightest of a few readings."""
    best, offset = 1 << 62, 0
    for _ in range(5):
        before = boottime_ns()
        wall = time.time_ns()
        after = boottime_ns()
        if after - before < best:
            best, offset = after - before, wall - (before + after) // 2
    return offset


def refuse_time_namespace() -> None:
    """In a time namespace our CLOCK_BOOTTIME is shifted against the kernel's stamps (measured: by the whole offset)."""
    try:
        with open("/proc/self/timens_offsets", encoding="ascii") as offsets:
            shifted = any(
                line.split()[0] == "boottime" and line.split()[1:] != ["0", "0"] for line in offsets
            )
    except OSError:
        return
    if shifted:
        raise UnavailableError(
            "this is a time namespace with a shifted boot clock: start kwitness in the host's"
        )


def gone(keys: list[ProcessKey]) -> list[ProcessKey]:
    """Those of the processes that are not there any more, by /proc/PID/stat: same pid, same start in clock ticks. A process
    whose file cannot be read for another reason (no descriptor is free) counts as there."""
    tick_ns = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    out = []
    for key in keys:
        try:
            with open(f"/proc/{key.tgid}/stat", "rb") as stat:
                fields = stat.read().rpartition(b")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            out.append(key)
            continue
        except OSError:
            continue
        # fields 3 (state) and 22 (starttime), proc(5); a zombie has ended
        if fields[0] == b"Z" or int(fields[19]) != key.start_boottime_ns // tick_ns:
            out.append(key)
    return out


def boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id", "rb") as source:
        return (
            source.read().decode().strip()
        )  # UTF-8 needs no module: this is also read after privileges went


def host_name() -> str:
    return os.uname().nodename


def host_addresses(proc: Path = Path("/proc/net")) -> tuple[str, ...]:
    """Of this network namespace, without loopback and link-local ones, by proc(5): fib_trie lists local addresses, if_inet6 all."""
    found: list[str] = []
    with contextlib.suppress(OSError):
        lines = (proc / "fib_trie").read_text().splitlines()
        for line, after in pairwise(lines):
            if "/32 host LOCAL" in after:
                found.append(line.split()[-1])
    with contextlib.suppress(OSError):
        for line in (proc / "if_inet6").read_text().splitlines():
            found.append(str(ipaddress.IPv6Address(int(line.split()[0], 16))))
    chosen = (
        a for a in map(ipaddress.ip_address, found) if not a.is_loopback and not a.is_link_local
    )
    return tuple(str(a) for a in dict.fromkeys(chosen))[:32]


def machine_id() -> str:
    """machine-id(5); empty where there is none."""
    try:
        found = Path("/etc/machine-id").read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return found if len(found) == 32 and found.isalnum() else ""
