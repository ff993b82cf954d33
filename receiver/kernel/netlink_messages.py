"""Netlink messages of the fallback source, as pyroute2's classes decode them.

A class is changed only where a process of the host could use it to hide, or where the struct of
newer kernels is missing. The reason is given at each.

Sources: include/uapi/linux/{cn_proc,taskstats,inet_diag}.h.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Self

import msgspec

from receiver.kernel import netlink_pyroute2 as p
from receiver.units import KIB

_HEADER = struct.Struct("<IHHII")  # nlmsghdr
_LENGTH = struct.Struct("<I")
_ATTRIBUTE = struct.Struct("<HHH")  # nlattr, and the version that a struct taskstats begins with


class DamagedError(ValueError):
    """A message contradicts its own length."""


def check_lengths(data: bytes) -> None:
    """Raises DamagedError for a datagram that pyroute2 would read past, or byte by byte."""
    at = 0
    while at <= len(data) - _HEADER.size:
        (length,) = _LENGTH.unpack_from(data, at)
        if not _HEADER.size <= length <= len(data) - at:
            raise DamagedError("length")
        at += length
    if not at:
        raise DamagedError("no message")


def _layout(fields: Iterable[tuple[str, str]]) -> str:
    return "".join(form for _, form in fields)


class _AtOnce:
    """Decodes the fields of a message or attribute in one step.

    pyroute2's own decoder takes them one by one, in 18 µs instead of 3 µs; each process of the host
    causes four messages.

    The name in a `comm` stays bytes. pyroute2 raises UnicodeDecodeError for one that is not UTF-8,
    and every process chooses its own name.
    """

    def decode(self: Any) -> None:
        values = self.layout.unpack_from(self.data, self.offset)
        self["header"] = dict(zip(self.header_names, values, strict=False))
        self.length = values[0]
        self.update(zip(self.field_names, values[len(self.header_names) :], strict=True))
        if self.nla_map:
            self.decode_nlas(self.offset + self.layout.size)
        self.decoded = True


def _at_once(kind: Any) -> Any:
    members = {
        "layout": struct.Struct("=" + _layout((*kind.header, *kind.fields))),
        "header_names": tuple(name for name, _ in kind.header),
        "field_names": tuple(name for name, _ in kind.fields if not name.startswith("_")),
    }
    return type(kind.__name__, (_AtOnce, kind), members)


class ProcMarshal(p.ProcEventMarshal):
    """Of the process connector."""

    msg_map: ClassVar = {what: _at_once(kind) for what, kind in p.ProcEventMarshal.msg_map.items()}
    # events of kernels that pyroute2 does not know yet
    default_message_class = _at_once(p.proc_event_base)

    def parse_one_message(
        self, key: int, _: int, sequence_number: int, data: bytes, offset: int, length: int
    ) -> Any:
        """Without the flags: pyroute2 takes some of them for the answer to a request."""
        return super().parse_one_message(key, 0, sequence_number, data, offset, length)


_STATS = (
    *p.taskstatsmsg.tstats_vB.fields,
    ("freepages_count", "Q"),
    ("freepages_delay_total", "Q"),
    ("thrashing_count", "Q"),
    ("thrashing_delay_total", "Q"),
    ("ac_btime64", "Q"),
    ("compact_count", "Q"),
    ("compact_delay_total", "Q"),
    ("ac_tgid", "I"),
)
_USED = frozenset(
    (
        "cpu_delay_total",
        "cpu_run_virtual_total",
        "ac_utime",
        "ac_stime",
        "hiwater_rss",
        "read_char",
        "write_char",
        "read_bytes",
        "write_bytes",
        "ac_tgid",
    )
)


def _used(fields: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The fields that `usage` reads, with bytes to skip between them, which pyroute2 names `_…`.

    A thread's name is skipped, too: pyroute2 would decode it, and fail for one that is not UTF-8.
    """
    out: list[tuple[str, str]] = []
    end = 0
    for index, (name, form) in enumerate(fields):
        if name in _USED:
            after = struct.calcsize(_layout(fields[: index + 1]))
            at = after - struct.calcsize(form)
            out += [("_skipped", f"{at - end}x"), (name, form)]
            end = after
    return tuple(out)


@_at_once
class _Stats(p.nla_struct):
    """struct taskstats since version 12 (Linux 5.18), which added the tgid at its end. pyroute2's
    class ends before that.
    """

    fields = _used(_STATS)


@_at_once
class _Stats15(p.nla_struct):
    """Version 15 (Linux 6.14) alone has new fields in between."""

    fields = _used(p.taskstatsmsg.tstats_v15.fields)


_SIZES = {kind: struct.calcsize(_layout(kind.fields)) for kind in (_Stats, _Stats15)}
_UNREADABLE = p.nlmsg_atoms.none


def _class_of_stats(_: Any, *, data: bytes, offset: int) -> Any:
    """pyroute2 calls this with the position of the attribute, and decodes it as the result."""
    if offset + _ATTRIBUTE.size > len(data):
        return _UNREADABLE
    length, _, version = _ATTRIBUTE.unpack_from(data, offset)
    kind = _Stats15 if version == 15 else _Stats
    whole = min(length, len(data) - offset) - 4 >= _SIZES[kind]
    return kind if whole else _UNREADABLE


@_at_once
class StatsAttribute(p.taskstatsmsg.aggr_id):
    versioned_stats = staticmethod(_class_of_stats)


@_at_once
class StatsMessage(p.taskstatsmsg):
    """What the kernel sends at the end of each thread."""

    versioned_stats = staticmethod(_class_of_stats)
    aggr_pid = aggr_tgid = StatsAttribute


class ThreadUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Resources of one ended thread, or the sum over a process's threads. Times in ns."""

    user: int = 0
    system: int = 0
    runtime: int = 0
    run_delay: int = 0
    peak_rss: int = 0
    read: int = 0
    written: int = 0
    read_calls: int = 0
    write_calls: int = 0

    def plus(self, other: Self) -> Self:
        """The peak belongs to the memory map, which all threads share; the other values add up."""
        return type(self)(
            user=self.user + other.user,
            system=self.system + other.system,
            runtime=self.runtime + other.runtime,
            run_delay=self.run_delay + other.run_delay,
            peak_rss=max(self.peak_rss, other.peak_rss),
            read=self.read + other.read,
            written=self.written + other.written,
            read_calls=self.read_calls + other.read_calls,
            write_calls=self.write_calls + other.write_calls,
        )


def usage(message: Any) -> tuple[int, ThreadUsage] | None:
    """The tgid and the resources of a thread that ended. None: the message has none of them."""
    thread: Any = message.get_attr("TASKSTATS_TYPE_AGGR_PID")
    # an attribute that pyroute2 cannot decode is bytes
    stats = thread.get_attr("TASKSTATS_TYPE_STATS") if isinstance(thread, StatsAttribute) else None
    if not isinstance(stats, dict) or not stats:
        return None
    stats = dict(stats)  # pyroute2's own dictionary computes each access
    user, system = stats["ac_utime"] * 1000, stats["ac_stime"] * 1000
    return stats["ac_tgid"], ThreadUsage(
        user=user,
        system=system,
        # the scheduler's own clock; user and system time may be counted in ticks. Kernels without
        # CONFIG_TASK_DELAY_ACCT leave it empty
        runtime=stats["cpu_run_virtual_total"] or user + system,
        run_delay=stats["cpu_delay_total"],
        peak_rss=stats["hiwater_rss"] * KIB,
        read=stats["read_bytes"],
        written=stats["write_bytes"],
        read_calls=stats["read_char"],
        write_calls=stats["write_char"],
    )


class DiagMarshal(p.MarshalDiag):
    """Of socket diagnostics: decodes the connections whose inode is wanted.

    A host may have very many, and pyroute2 needs some 100 µs for each.
    """

    _inode_at = _HEADER.size + struct.calcsize(
        "=" + _layout(p.inet_diag_msg.fields[:-1]).replace(">", "")
    )

    def __init__(self, wanted: Callable[[int], bool]) -> None:
        super().__init__()
        self._wanted = wanted

    def parse_one_message(  # noqa: PLR0917 (pyroute2's signature)
        self, key: int, flags: int, sequence_number: int, data: bytes, offset: int, length: int
    ) -> Any:
        _, kind, *_ = _HEADER.unpack_from(data, offset)
        if kind > p.NLMSG_DONE and not self._wanted(
            _LENGTH.unpack_from(data, offset + self._inode_at)[0]
        ):
            return None  # pyroute2 passes over it
        return super().parse_one_message(key, flags, sequence_number, data, offset, length)
