"""Pairs of a process and its use of a file."""

from __future__ import annotations

from collections import defaultdict

from receiver.detect.file_names import LOGS
from receiver.facts.versions import FileKey
from receiver.investigate.case import Case
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.work.tables import Use

Pair = tuple[ProcessSnapshot, Use]


def is_data(path: str) -> bool:
    return not path.endswith(LOGS) and not path.startswith(("/proc/", "/sys/", "/dev/"))


def readers_of(case: Case) -> dict[FileKey, list[Pair]]:
    out: dict[FileKey, list[Pair]] = defaultdict(list)
    for actor in case:
        for use in actor.uses:
            if use.reading and not use.writing and is_data(use.path):
                out[use.key].append((actor, use))
    return out


def writers_of(case: Case) -> dict[FileKey, list[Pair]]:
    out: dict[FileKey, list[Pair]] = defaultdict(list)
    for actor in case:
        for use in actor.uses:
            if use.writing and use.written_bytes and is_data(use.path):
                out[use.key].append((actor, use))
    return out
