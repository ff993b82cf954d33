"""Names for the kernel's numbers, for people: signals, errors, ends, sizes, addresses, DNS names
and paths.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import signal as signals
from functools import cache

from receiver.events import Event
from receiver.units import MIB

AF_INET = 2  # address family of IPv4, socket(2)


def signal_name(number: int) -> str:
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"SIGRT{number}" if number >= 32 else f"SIG{number}"


def describe_end(cause: str, code: int, signal: int) -> str:
    if cause == "oom_killed":
        return "OOM-killed"
    return signal_name(signal) if signal else f"exit {code}"


def end_phrase(error: str) -> str:
    """What happened to a process with this error.type: `was killed by SIGTERM`."""
    if not error:
        return "exited with status 0"
    if error == "oom_killed":
        return "was killed by the OOM killer"
    if error.startswith("SIG"):
        return f"was killed by {error}"
    kind, _, code = error.partition("_")
    return f"exited with status {code}" if kind == "exit" else f"failed ({error})"


def counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def event_id(event: Event) -> str:
    """Unique within one attachment; together with the host's session it is unique everywhere."""
    return f"{event.cpu}-{event.sequence}"


@cache
def kind_name(kind: type) -> str:
    """`file_opened` for the class of FileOpened events, as in bpf/events.h."""
    return re.sub(r"(?<!^)([A-Z])", r"_\1", kind.__name__).lower()


def mib(count: int) -> str:
    """Bytes for people."""
    return f"{count / MIB:.1f} MiB"


def error_name(number: int) -> str:
    return errno.errorcode.get(number, f"E{number}")


def address_of(family: int, high: int, low: int) -> str:
    """The text of an address as a BPF program sends it: network order, IPv4 in the low half."""
    if family == AF_INET:
        return str(ipaddress.IPv4Address((low & 0xFFFFFFFF).to_bytes(4, "little")))
    found = ipaddress.IPv6Address(high.to_bytes(8, "little") + low.to_bytes(8, "little"))
    return str(found.ipv4_mapped or found)


def name_in(labels: str) -> str:
    """`example.com` for `\\x07example\\x03com` (RFC 1035, 3.1).

    A malformed name is decoded as far as possible.
    """
    parts, at = [], 0
    while at < len(labels):
        length = ord(labels[at])
        parts.append(labels[at + 1 : at + 1 + length])
        at += 1 + length
    return ".".join(parts)


def resolve(directory: str, path: str) -> str:
    """An absolute path from a call's argument.

    `..` is resolved literally, because the kernel's own resolution is not known.
    """
    return os.path.normpath(path if path.startswith("/") else f"{directory}/{path}")
