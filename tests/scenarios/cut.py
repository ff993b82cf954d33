"""Cuts a recording of a framework's run down to what its rules need:
`python -m tests.scenarios.cut IN OUT [OLD=NEW…]`.

Lifecycles, titles, signals and files of the watched command's own processes stay; samples, sockets
and everything of strangers go. OLD=NEW replaces the beginnings of paths, so that nothing of the
machine is left that it was made on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from receiver.errors import DecodeError
from receiver.events import (
    Connection,
    Event,
    Exec,
    Exit,
    FileChanged,
    FileOpened,
    Fork,
    OomKill,
    OpenFile,
    ProcessKey,
    Signal,
    Title,
    encode,
)
from receiver.kernel.decode import decode, split
from receiver.model import Watch
from receiver.observe.recorder import Recorder
from receiver.observe.recording import FrameKind, Header, Recording
from receiver.observe.replay import OF_HISTORY
from receiver.text.redact import Redactor
from tests.builders import HOST

KEPT = (Fork, Exec, Title, Exit, Signal, OomKill, OpenFile, FileOpened, FileChanged, Connection)
LISTENING = 5
TELLING_READS = ("=", "/great_expectations/", "-packages/airflow/", ".csv")
CHATTER = ("/blockmgr-", ".db-wal", ".db-shm", ".db-journal", "/dev/shm/")


def renamed(event: Event, names: list[tuple[str, str]]) -> Event:
    """With every beginning (or piece) of a path that is to be replaced, replaced."""

    def text(value: str) -> str:
        for old, new in names:
            value = value.replace(old, new)
        return value

    changed: dict[str, Any] = {}
    for field in event.__struct_fields__:
        value = getattr(event, field)
        if isinstance(value, str):
            changed[field] = text(value)
        elif isinstance(value, tuple) and value and isinstance(value[0], str):
            changed[field] = tuple(text(v) for v in value)
    return msgspec.structs.replace(event, **changed)


# earlier runs hold paths of the host; the others are about parts that are cut away
OF_THE_HOST = (*OF_HISTORY, FrameKind.METRICS, FrameKind.FUNCTIONS, FrameKind.UNSEEN)


def wanted(event: Event) -> bool:
    if not isinstance(event, KEPT) or (isinstance(event, Connection) and event.stage != LISTENING):
        return False
    if isinstance(event, FileOpened):
        is_read = event.open_flags & 3 == 0
        telling = not is_read or any(piece in event.path for piece in TELLING_READS)
        return telling and not any(piece in event.path for piece in CHATTER)
    return (
        not isinstance(event, FileChanged)
        or "-luigi-tmp-" in event.path
        or "/.snakemake/" in event.path
    )


def rewrite(
    source: Path,
    target: Path,
    keep: Callable[[Event, set[int]], Event | None],
    also: Callable[[Event], bool] = lambda _: False,
) -> None:
    """`keep` gives what is to stay of an event, or None; the pids are those of the watched command
    and what it forked. `also` says of which others `keep` is to be asked, too."""
    recording = Recording(source)
    frames = list(recording)
    pids = {
        msgspec.json.decode(f.payload, type=Watch).pid for f in frames if f.kind == FrameKind.WATCH
    }
    recorder = Recorder(
        target.open("wb"),
        Header(recording.header.wire_hashes, HOST, recording.header.wall_offset_ns),
    )
    for frame in frames:
        if frame.kind in OF_THE_HOST:
            continue
        if frame.kind != FrameKind.BATCH:
            recorder.write(FrameKind(frame.kind), frame.time_ns, frame.payload)
            continue
        kept = []
        for raw in split(frame.payload):
            try:
                event = decode(raw, Redactor("off"))
            except DecodeError:
                continue
            if isinstance(event, Fork) and event.parent.tgid in pids:
                pids.add(event.process.tgid)
            if (is_about(event, pids) or also(event)) and (left := keep(event, pids)) is not None:
                kept.append(encode(left))
        if kept:
            recorder.batch(kept, frame.time_ns)
    recorder.close()


def is_about(event: Event, pids: set[int]) -> bool:
    return any(
        getattr(event, name, ProcessKey(0, 0)).tgid in pids
        for name in ("process", "target", "victim")
    )


def main(source: Path, target: Path, names: list[tuple[str, str]]) -> None:
    rewrite(source, target, lambda event, _: renamed(event, names) if wanted(event) else None)


if __name__ == "__main__":
    main(
        Path(sys.argv[1]),
        Path(sys.argv[2]),
        [(a.partition("=")[0], a.partition("=")[2]) for a in sys.argv[3:]],
    )
