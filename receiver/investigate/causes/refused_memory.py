"""Memory that was refused, by the limit that refused it: each was looked up as the call failed."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import msgspec

from receiver.calls import call_name
from receiver.events import MemoryRefused, RefusalFlag
from receiver.investigate.case import Case
from receiver.investigate.evidence import (
    CLEAR,
    SOME,
    STRONG,
    Candidate,
    Culprit,
    ends,
    fact,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.names import error_name, mib
from receiver.units import MIB


class _Limit(msgspec.Struct, frozen=True, kw_only=True):
    """The limit that refused memory. `text` completes the sentence "… was refused: "."""

    cause: str
    name: str
    text: str
    remedy: str
    weight: float = STRONG


def refused_memory(case: Case) -> Iterator[Candidate]:
    """Finds refused mappings in processes that then failed."""
    for actor in case:
        refused = actor.moments.refused
        if not refused or not actor.failed:
            continue
        event = refused[-1]
        limit = _limit_of(actor, event)
        if limit is not None:
            yield _candidate(actor, event, limit)


def _limit_of(actor: ProcessSnapshot, event: MemoryRefused) -> _Limit | None:
    match event.error:
        case errno.ENOMEM:
            return _too_much(actor, event)
        case errno.EAGAIN if event.refusal_flags & RefusalFlag.LOCKED:
            return _rlimit(
                actor, "RLIMIT_MEMLOCK", event, event.locked_bytes, event.locked_limit_bytes
            )
        case errno.EPERM | errno.EACCES if event.refusal_flags & RefusalFlag.NOEXEC:
            return _Limit(
                cause="fs.noexec",
                name="noexec",
                text=f"{event.path} is on a mount with the option noexec",
                remedy=(
                    f"Mount the file system of {event.path} without noexec, or move the file to "
                    "one that permits execution."
                ),
            )
    return None


def _too_much(actor: ProcessSnapshot, event: MemoryRefused) -> _Limit:
    """The kernel's own order: the number of mappings, the process's limits, then overcommit."""
    if event.mappings_max and event.mappings >= event.mappings_max:
        return _Limit(
            cause="mem.mappings",
            name="vm.max_map_count",
            text=(
                f"it had {event.mappings} mappings, and vm.max_map_count is {event.mappings_max}"
            ),
            remedy=(
                f"Raise vm.max_map_count above {event.mappings_max}, or let {actor.name} map fewer "
                "and larger pieces."
            ),
        )
    if event.mapped_bytes + event.asked_bytes > event.address_space_limit_bytes:
        return _rlimit(
            actor, "RLIMIT_AS", event, event.mapped_bytes, event.address_space_limit_bytes
        )
    private = event.refusal_flags & RefusalFlag.PRIVATE_WRITABLE
    if private and event.private_bytes + event.asked_bytes > event.data_limit_bytes:
        return _rlimit(actor, "RLIMIT_DATA", event, event.private_bytes, event.data_limit_bytes)
    return _Limit(
        cause="mem.overcommit",
        name="vm.overcommit_memory",
        text=(
            f"no limit of its own was reached ({mib(event.mapped_bytes)} in {event.mappings} "
            f"mappings), which leaves the host's accounting: vm.overcommit_memory is "
            f"{event.overcommit}"
        ),
        remedy=(
            f"Let {actor.name} ask for less than {mib(event.asked_bytes)} at once, add memory or "
            "swap to the host, or change vm.overcommit_memory and vm.overcommit_ratio."
        ),
        weight=CLEAR,
    )


def _rlimit(
    actor: ProcessSnapshot, name: str, event: MemoryRefused, held: int, limit: int
) -> _Limit:
    needed = held + event.asked_bytes
    return _Limit(
        cause="mem.rlimit",
        name=name,
        text=(
            f"with the {mib(held)} that it had, that is {mib(needed)}, and its {name} is "
            f"{mib(limit)}"
        ),
        remedy=(
            f"Raise {name} of {actor.name} above {mib(needed)} "
            f"({_SHELL.get(name, 'setrlimit(2)')}), or let it use less memory."
        ),
    )


_SHELL = {"RLIMIT_AS": "ulimit -v", "RLIMIT_DATA": "ulimit -d", "RLIMIT_MEMLOCK": "ulimit -l"}


def _candidate(actor: ProcessSnapshot, event: MemoryRefused, limit: _Limit) -> Candidate:
    call, error = call_name(event.call_number), error_name(event.error)
    text = f"{call} of {mib(event.asked_bytes)} was refused to {actor.who} ({error}): {limit.text}."
    after = f"After that it {actor.end.words}."
    culprit = process_culprit(actor)
    if limit.cause == "fs.noexec":
        culprit = Culprit(type="file", path=event.path)
    return Candidate(
        cause=limit.cause,
        culprit=culprit,
        summary=text,
        remedy=limit.remedy,
        evidence=(
            supports("mem.limit.call_refused", limit.weight, text, [fact(event)]),
            supports("mem.limit.refused_then_ended", SOME, after, ends(actor)),
        ),
        subject=actor.key,
        at_ns=event.time_boottime_ns,
    )


def _size(count: int) -> str:
    return mib(count) if count >= MIB else f"{count} bytes"
