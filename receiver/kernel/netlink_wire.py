"""Netlink as bytes: the sockets of the process connector and of taskstats, and their requests.

Sources: netlink(7), include/uapi/linux/{netlink,connector,cn_proc,genetlink,taskstats}.h.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from pathlib import Path

from receiver.errors import PrivilegeError, UnavailableError
from receiver.units import MIB

NETLINK_CONNECTOR, NETLINK_GENERIC = 11, 16
CN_IDX_PROC = 1
NLMSG = struct.Struct("<IHHII")  # nlmsghdr
CN = struct.Struct("<IIIIHH")  # cn_msg
PROC_EVENT = struct.Struct("<IIQ")  # proc_event: what, cpu, timestamp (monotonic ns)
FORK, EXEC, COMM, EXIT = 1, 2, 0x200, 0x80000000
TYPE_STATS, TYPE_AGGR_PID = 3, 4
_RECEIVE_BYTES = 8 * MIB
_GENL_ID_CTRL, _CTRL_GETFAMILY, _CTRL_FAMILY_ID, _CTRL_FAMILY_NAME = 16, 3, 1, 2
_TASKSTATS_GET, _REGISTER_CPUMASK = 1, 3
_SO_RCVBUFFORCE = 33


def listen(action: int) -> bytes:
    """proc_cn_mcast_op: 1 listen, 2 ignore."""
    body = CN.pack(CN_IDX_PROC, 1, 0, 0, 4, 0) + struct.pack("<I", action)
    return NLMSG.pack(NLMSG.size + len(body), 3, 0, 0, 0) + body  # NLMSG_DONE


def connector() -> socket.socket:
    sock = socket.socket(
        socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, NETLINK_CONNECTOR
    )
    try:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BYTES)
        sock.bind((0, CN_IDX_PROC))
        sock.send(listen(1))
    except PermissionError:
        sock.close()
        raise PrivilegeError("the process connector needs CAP_NET_ADMIN") from None
    except OSError as error:
        sock.close()
        raise UnavailableError(
            f"this kernel has no process connector (CONFIG_PROC_EVENTS): {error.strerror}"
        ) from None
    return sock


def _attribute(kind: int, data: bytes) -> bytes:
    raw = struct.pack("<HH", 4 + len(data), kind) + data
    return raw + b"\0" * (-len(raw) % 4)


def taskstats() -> socket.socket | None:
    """A generic netlink socket that receives the accounting of every thread at its end."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_GENERIC)
    try:
        sock.bind((0, 0))
        sock.settimeout(1.0)
        body = struct.pack("<BBH", _CTRL_GETFAMILY, 1, 0) + _attribute(
            _CTRL_FAMILY_NAME, b"TASKSTATS\0"
        )
        sock.send(NLMSG.pack(NLMSG.size + len(body), _GENL_ID_CTRL, 1, 1, 0) + body)
        answer = sock.recv(4096)
        at, family = NLMSG.size + 4, 0
        while at + 4 <= len(answer):
            length, kind = struct.unpack_from("<HH", answer, at)
            if kind == _CTRL_FAMILY_ID:
                (family,) = struct.unpack_from("<H", answer, at + 4)
            at += max(4, length + -length % 4)
        if not family:
            sock.close()
            return None
        cpus = Path("/sys/devices/system/cpu/possible").read_text().strip().encode() + b"\0"
        body = struct.pack("<BBH", _TASKSTATS_GET, 1, 0) + _attribute(_REGISTER_CPUMASK, cpus)
        sock.send(
            NLMSG.pack(NLMSG.size + len(body), family, 5, 2, 0) + body
        )  # NLM_F_REQUEST | NLM_F_ACK
        (code,) = struct.unpack_from("<i", sock.recv(4096), NLMSG.size)
        if code:
            raise OSError(-code, os.strerror(-code))
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BYTES)
    except BaseException:
        sock.close()
        raise
    sock.setblocking(False)
    return sock
