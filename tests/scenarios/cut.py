"""Cuts a recording of a framework's run down to what its rules need: `python -m tests.scenarios.cut IN OUT [OLD=NEW…]`.

Lifecycles, titles, signals and files of the watched command's own processes stay; samples, sockets and everything of strangers
go. OLD=NEW replaces the beginnings of paths, so that nothing of the machine is left that it was made on.
"""

from __future__ import annotations

import sys
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
from receiver.recording import FrameKind, Header, Recorder, Recording
from receiver.redact import Redactor
from tests.builders import HOST

KEPT = (Fork, Exec, Title, Exit, Signal, OomKill, OpenFile, FileOpened, FileChanged, Connection)
LISTENING = 5
TELLING_READS = ("=", "/great_expectations/", ".csv")
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


def wanted(event: Event, pids: set[int]) -> bool:
    if isinstance(event, Fork) and event.parent.tgid in pids:
        pids.add(event.process.tgid)
    if not isinstance(event, KEPT) or (isinstance(event, Connection) and event.stage != LISTENING):
        return False
    if isinstance(event, FileOpened) and event.open_flags & 3 == 0 and not any(piece in event.path for piece in TELLING_READS):
        return False
    if isinstance(event, FileOpened) and any(piece in event.path for piece in CHATTER):
        return False
    if isinstance(event, FileChanged) and not ("-luigi-tmp-" in event.path or "/.snakemake/" in event.path):
        return False
    return any(getattr(event, name, ProcessKey(0, 0)).tgid in pids for name in ("process", "target", "victim"))


def main(source: Path, target: Path, names: list[tuple[str, str]]) -> None:
    recording = Recording(source)
    frames = list(recording)
    pids = {msgspec.json.decode(f.payload, type=Watch).pid for f in frames if f.kind == FrameKind.WATCH}
    recorder = Recorder(target.open("wb"), Header(recording.header.wires, HOST, recording.header.wall_offset_ns))
    for frame in frames:
        if frame.kind != FrameKind.BATCH:
            if frame.kind != FrameKind.VANISHED:
                recorder.write(FrameKind(frame.kind), frame.time_ns, frame.payload)
            continue
        kept = []
        for raw in split(frame.payload):
            try:
                event = decode(raw, Redactor("off"))
            except DecodeError:
                continue
            if wanted(event, pids):
                kept.append(encode(renamed(event, names)))
        if kept:
            recorder.batch(kept, frame.time_ns)
    recorder.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), [(a.partition("=")[0], a.partition("=")[2]) for a in sys.argv[3:]])
