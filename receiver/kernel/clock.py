"""Kernel time (CLOCK_BOOTTIME, ns) and its offset to wall time.

No other module reads a clock for events.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import time
from itertools import pairwise
from pathlib import Path

from receiver.errors import UnavailableError
from receiver.events import ProcessKey
from receiver.units import SECOND


def boottime_ns() -> int:
    """CLOCK_BOOTTIME, the clock of bpf_ktime_get_boot_ns, which stamps every record.

    It continues during suspend.
    """
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def wall_offset_ns() -> int:
    """Unix time minus boot time: the tightest of several readings."""
    best, offset = 1 << 62, 0
    for _ in range(5):
        before = boottime_ns()
        wall = time.time_ns()
        after = boottime_ns()
        if after - before < best:
            best, offset = after - before, wall - (before + after) // 2
    return offset


def refuse_time_namespace() -> None:
    """In a time namespace, CLOCK_BOOTTIME is shifted against the kernel's stamps (measured: by the
    whole offset).
    """
    try:
        with open("/proc/self/timens_offsets", encoding="ascii") as offsets:
            shifted = any(
                line.split()[0] == "boottime" and line.split()[1:] != ["0", "0"] for line in offsets
            )
    except OSError:
        return
    if shifted:
        raise UnavailableError(
            "this time namespace has a shifted boot clock: start kwitness in the host's time "
            "namespace"
        )


def gone(keys: list[ProcessKey]) -> list[ProcessKey]:
    """The processes that have ended, by /proc/PID/stat: a living one has the same pid and the same
    start in clock ticks. A process whose file cannot be read for another reason (no free
    descriptor) counts as alive.
    """
    tick_ns = SECOND // os.sysconf("SC_CLK_TCK")
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
        )  # UTF-8 needs no import, which matters after privileges were dropped


def host_name() -> str:
    return os.uname().nodename


def host_addresses(proc: Path = Path("/proc/net")) -> tuple[str, ...]:
    """The addresses of this network namespace, without loopback and link-local ones.

    By proc(5), fib_trie lists local addresses and if_inet6 lists all.
    """
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
    """machine-id(5); empty if the host has none."""
    try:
        found = Path("/etc/machine-id").read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return found if len(found) == 32 and found.isalnum() else ""
