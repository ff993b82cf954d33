"""Cuts a recording down to the watched command's own processes, for keeping: `python -m tests.scenarios.trim IN OUT`.

What is left is real; the host's name and all that strangers did is gone.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from receiver.errors import DecodeError
from receiver.events import Fork, ProcessKey
from receiver.kernel.decode import decode, split
from receiver.model import Watch
from receiver.recording import FrameKind, Header, Recorder, Recording
from receiver.redact import Redactor
from tests.builders import HOST


def main(source: Path, target: Path) -> None:
    recording = Recording(source)
    frames = list(recording)
    pids = {msgspec.json.decode(f.payload, type=Watch).pid for f in frames if f.kind == FrameKind.WATCH}
    recorder = Recorder(target.open("wb"), Header(recording.header.wires, HOST, recording.header.wall_offset_ns))
    for frame in frames:
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
            subjects = (getattr(event, name, ProcessKey(0, 0)).tgid for name in ("process", "target", "victim"))
            if any(pid in pids for pid in subjects):
                kept.append(raw)
        if kept:
            recorder.batch(kept, frame.time_ns)
    recorder.close()


main(Path(sys.argv[1]), Path(sys.argv[2]))
