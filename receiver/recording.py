"""A recording: everything the core was told, in order, so that replaying it makes the same signals, bit by bit.

    kwitness-recording 2\\n
    {"wires": {kind: hash}, "host": {…}, "wall_offset_ns": …}\\n          JSON, one line
    frame*          u8 kind, u32 length, i64 time (boot ns), payload

Command lines are redacted as they are written. Reading refuses another version or wire layout; a cut last frame is dropped
and said (`truncated`).
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from struct import Struct
from typing import BinaryIO

import msgspec

from receiver.errors import DataError
from receiver.events import WIRES
from receiver.kernel.decode import scrub
from receiver.model import Host
from receiver.redact import Redactor

MAGIC = b"kwitness-recording 2\n"
_FRAME = Struct("<BIq")
_LENGTH_LIMIT = 64 << 20


class FrameKind(IntEnum):
    """Append-only, like everything in the file."""

    BATCH = 1  # records, back to back
    TICK = 2
    WALL_OFFSET = 3  # i64 ns
    WATCH = 4  # JSON
    LOSSES = 5  # JSON [[kind, reason, total], …]
    VANISHED = 6  # JSON [[tgid, start], …]
    FINISH = 7
    CONTAINERS = 8  # JSON [ContainerName, …]
    BLIND = 9  # JSON [Blind, …]


class Header(msgspec.Struct, frozen=True):
    """`wires` names every kind the writer knew, with the hash of its layout: kinds that came later do no harm."""

    wires: dict[str, str]
    host: Host
    wall_offset_ns: int


class Frame(msgspec.Struct, frozen=True):
    kind: int
    time_ns: int
    payload: bytes


class Recorder:
    """Writes frames. The redactor is its own: counts of what was taken out stay apart from the core's."""

    def __init__(self, output: BinaryIO, header: Header) -> None:
        self._output = output
        self._redactor = Redactor("scrub")
        output.write(MAGIC + msgspec.json.encode(header) + b"\n")

    def write(self, kind: FrameKind, time_ns: int, payload: bytes = b"") -> None:
        self._output.write(_FRAME.pack(kind, len(payload), time_ns) + payload)

    def batch(self, batch: list[bytes], time_ns: int) -> None:
        self.write(FrameKind.BATCH, time_ns, b"".join(scrub(raw, self._redactor) for raw in batch))

    def close(self) -> None:
        self._output.close()


class Recording:
    """Reads one. Iterate for its frames; `truncated` is set when the last one was cut."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror}") from None
        self.truncated = False
        try:
            self.header = self._read_header(path)
        except BaseException:
            self._file.close()
            raise

    def _read_header(self, path: Path) -> Header:
        if self._file.readline(64) != MAGIC:
            raise DataError(f"{path} is not a kwitness recording of version 2")
        try:
            header = msgspec.json.decode(self._file.readline(1 << 16), type=Header)
        except (ValueError, RecursionError):
            raise DataError(f"{path}: its header is damaged") from None
        foreign = sorted(kind for kind, wire in header.wires.items() if WIRES.get(kind) != wire)
        if foreign:
            differ = ", ".join(foreign)
            raise DataError(f"{path} was made by another version, whose {differ} records differ: replay it with that one")
        return header

    def __iter__(self) -> Iterator[Frame]:
        with self._file:
            while head := self._file.read(_FRAME.size):
                if len(head) < _FRAME.size:
                    self.truncated = True
                    return
                kind, length, time_ns = _FRAME.unpack(head)
                payload = self._file.read(length) if length <= _LENGTH_LIMIT else b""
                if len(payload) != length:
                    self.truncated = True
                    return
                yield Frame(kind, time_ns, payload)

    def close(self) -> None:
        self._file.close()
