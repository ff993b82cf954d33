"""Datagrams of netlink as the kernel sends them, written with struct alone:
what pyroute2 reads must agree.

Source: include/uapi/linux/{netlink,connector,cn_proc,genetlink,taskstats,inet_diag}.h.
"""

from __future__ import annotations

import socket
import struct

FORK, EXEC, COMM, EXIT = 1, 2, 0x200, 0x80000000
FAMILY = 0x1B  # generic netlink numbers its families as they register
INODE = 4711


def message(kind: int, body: bytes, flags: int = 0) -> bytes:
    return struct.pack("<IHHII", 16 + len(body), kind, flags, 0, 0) + body


def proc_event(
    what: int, *values: int, cpu: int = 1, stamp: int = 10**9, raw: bytes = b""
) -> bytes:
    """A cn_msg with a proc_event, whose union has 24 bytes."""
    union = (struct.pack(f"<{len(values)}I", *values) + raw).ljust(24, b"\0")
    event = struct.pack("<IIQ", what, cpu, stamp) + union
    return message(3, struct.pack("<IIIIHH", 1, 1, 7, 0, len(event), 0) + event)


def forked(parent: int, child: int) -> bytes:
    return proc_event(FORK, parent, parent, child, child)


def executed(pid: int) -> bytes:
    return proc_event(EXEC, pid, pid)


def renamed(pid: int, name: bytes) -> bytes:
    return proc_event(COMM, pid, pid, raw=name.ljust(16, b"\0"))


def exited(pid: int, status: int) -> bytes:
    return proc_event(EXIT, pid, pid, status, 17, 1, 1)


def attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("<HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def taskstats(version: int, size: int, values: dict[int, int], comm: bytes = b"sh") -> bytes:
    """`values`: u64 by their offset. The padding attribute aligns the struct (nla_align_64bit)."""
    stats = bytearray(size)
    struct.pack_into("<H", stats, 0, version)
    for at, value in values.items():
        stats[at : at + 8] = struct.pack("<Q", value)[: max(0, size - at)]
    name = 80 if version != 15 else 128  # six more u64 in front of it
    stats[name : name + len(comm)] = comm
    thread = attribute(1, struct.pack("<I", 9)) + attribute(6, b"") + attribute(3, bytes(stats))
    return message(FAMILY, struct.pack("<BBH", 2, 1, 0) + attribute(4, thread))


# user, system in us; peak in KiB; bytes by calls and of storage; run delay; runtime; tgid
USED = {152: 3, 160: 4, 200: 5, 216: 6, 224: 7, 248: 8, 256: 9, 24: 10, 72: 11, 368: 42}
# version 15 has six u64 more before the name, and eight more before the tgid's neighbours
USED_15 = {200: 3, 208: 4, 248: 5, 264: 6, 272: 7, 296: 8, 304: 9, 24: 10, 120: 11, 464: 42}


def connection(inode: int, peer: str, port: int) -> bytes:
    """An inet_diag_msg of an open connection, with an attribute that we do not ask for."""
    family = socket.AF_INET6 if ":" in peer else socket.AF_INET
    address = socket.inet_pton(family, peer).ljust(16, b"\0")
    head = struct.pack("<BBBB", family, 1, 0, 0) + struct.pack(">HH", 5000, port)
    rest = struct.pack("<IQIIIII", 0, 1, 0, 30, 20, 0, inode)
    return message(20, head + bytes(16) + address + rest + attribute(8, b"\0"), flags=2)
