"""File systems without room or inodes, and who filled them."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import msgspec

from receiver.events import CallFailed, CallKind
from receiver.investigate.case import Case
from receiver.investigate.evidence import (
    SLIGHT,
    STRONG,
    Evidence,
    ends,
    facts,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.call_text import subject_of
from receiver.text.names import error_name

_MEMORY = "/dev/shm/"  # noqa: S108 (only compared): mem.shm_full is about it


class Refused(msgspec.Struct, frozen=True, eq=False):
    """A process that got ENOSPC or EDQUOT, and what shows it.

    `creates` are the calls that create a file. `of_space`: a write failed for lack of space.
    """

    actor: ProcessSnapshot
    first: CallFailed
    creates: tuple[CallFailed, ...]
    of_space: bool
    shown: tuple[Evidence, ...]


def refused_by_file_systems(case: Case) -> Iterator[Refused]:
    """Finds ENOSPC and EDQUOT: no space, no inodes, or an exceeded quota."""
    for actor in case:
        calls = [
            c
            for c in actor.calls
            if c.error in (errno.ENOSPC, errno.EDQUOT)
            and c.call != CallKind.WATCH  # the limit of inotify
            and not c.path.startswith(_MEMORY)
        ]
        if not calls:
            continue
        creates = tuple(c for c in calls if c.call in (CallKind.OPEN, CallKind.CHANGE))
        writes = any(c.call in (CallKind.WRITE, CallKind.SYNC, CallKind.OTHER) for c in calls)
        text = (
            f"{actor.who} got {error_name(calls[0].error)} on {subject_of(calls[0]) or 'a file'}."
        )
        shown = [supports("fs.full.call_refused", STRONG, text, facts(*calls[:3]))]
        if actor.failed:
            shown.append(
                supports("fs.full.then_ended", SLIGHT, f"It then {actor.end.words}.", ends(actor))
            )
        quota = any(c.error == errno.EDQUOT for c in calls)
        inodes = creates and not writes and not _writes_failed(case)
        yield Refused(actor, calls[0], creates, not quota and not inodes, tuple(shown))


def _writes_failed(case: Case) -> bool:
    return any(
        c.error == errno.ENOSPC and c.call in (CallKind.WRITE, CallKind.SYNC)
        for a in case
        for c in a.calls
    )


def device_of(case: Case, path: str) -> int:
    """Returns the device of the file, or of the nearest known path."""
    best, length = 0, 0
    for actor in case:
        for use in actor.uses:
            common = len(_common(use.path, path))
            if use.path == path:
                return use.key[0]
            if common > length and use.writing:
                best, length = use.key[0], common
    return best


def _common(one: str, other: str) -> str:
    parts: list[str] = []
    for a, b in zip(one.split("/"), other.split("/"), strict=False):
        if a != b:
            break
        parts.append(a)
    return "/".join(parts)
