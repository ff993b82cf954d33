"""A recording holds all inputs of the core in order, so that a replay makes the same signals, byte
for byte.

    kwitness-recording 2\\n
    {"wires": {kind: hash}, "host": {…}, "wall_offset_ns": …, "holds": …}\\n  JSON, one line
    frame*          u8 kind, u32 length, i64 time (boot ns), payload

All text is redacted when it is written. A recording of a command (`holds`: "command") has the
command and its children in full, and only the identity of other processes
(receiver.observe.recording_scope). Reading refuses another version or wire layout. A truncated last
frame is dropped and reported (`truncated`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from struct import Struct
from typing import BinaryIO

import msgspec

from receiver.errors import DataError, DecodeError
from receiver.events import TIME_LIMIT_NS, WIRES, encode
from receiver.kernel.decode import decode, scrub
from receiver.model import ContainerName, Host, Watch
from receiver.observe.recording_scope import CommandScope
from receiver.safe.files import open_input
from receiver.text.redact import Redactor
from receiver.units import MIB

log = logging.getLogger("kwitness")
MAGIC = b"kwitness-recording 2\n"
_FRAME = Struct("<BIq")
_LENGTH_LIMIT = 64 * MIB
HOST_CONTENTS = "all processes of the host, with arguments, paths and endpoints, secrets redacted"
COMMAND_CONTENTS = "the command and its children; of other processes pid, start time and name only"


class FrameKind(IntEnum):
    """Append-only, because the numbers are in files."""

    BATCH = 1  # records, back to back
    TICK = 2
    WALL_OFFSET = 3  # i64 ns
    WATCH = 4  # JSON
    LOSSES = 5  # JSON [[kind, reason, total], …, [kind, reason, total, user], …]
    VANISHED = 6  # JSON [[tgid, start], …]
    FINISH = 7
    CONTAINERS = 8  # JSON [ContainerName, …]
    BLIND = 9  # JSON [Blind, …]


class Header(msgspec.Struct, frozen=True):
    """`wires` names every kind that the writer knew, with the hash of its layout.

    Kinds that were added later do not matter.
    """

    wires: dict[str, str]
    host: Host
    wall_offset_ns: int
    # "host": all processes; "command": one command's; empty in recordings of earlier versions,
    # which hold all
    holds: str = ""

    @property
    def contents(self) -> str:
        """Its content, in words."""
        return COMMAND_CONTENTS if self.holds == "command" else HOST_CONTENTS


class Frame(msgspec.Struct, frozen=True):
    kind: int
    time_ns: int
    payload: bytes


class Recorder:
    """Writes frames. It has a redactor of its own, so that its redaction counts stay apart from the
    core's.

    A full disk does not end the observing: `failure` holds the reason, and later frames are not
    written. The frames until then can be replayed.
    """

    def __init__(self, output: BinaryIO, header: Header, scope: CommandScope | None = None) -> None:
        """`scope`: stores only the events of a command."""
        self.failure = ""
        self._output = output
        self._scope = scope
        self._containers: tuple[ContainerName, ...] = ()
        self._cgroups = 0
        self._redactor = Redactor("scrub")
        self._write(MAGIC + msgspec.json.encode(header) + b"\n")

    def write(self, kind: FrameKind, time_ns: int, payload: bytes = b"") -> None:
        self._write(_FRAME.pack(kind, len(payload), time_ns) + payload)

    def _write(self, data: bytes) -> None:
        if self.failure:
            return
        try:
            self._output.write(data)
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        self.failure = error.strerror or "it cannot be written"
        log.warning("the recording is cut short: %s", self.failure)

    def batch(self, batch: list[bytes], time_ns: int) -> None:
        if self._scope is None:
            self.write(
                FrameKind.BATCH, time_ns, b"".join(scrub(raw, self._redactor) for raw in batch)
            )
            return
        kept = b"".join(self._of_command(raw, self._scope) for raw in batch)
        if self._scope.cgroups != self._cgroups:  # the names of its containers, before their events
            self._cgroups = self._scope.cgroups
            self._write_containers(self._scope.containers(self._containers), time_ns)
        self.write(FrameKind.BATCH, time_ns, kept)

    def watch(self, watch: Watch, time_ns: int) -> None:
        if self._scope is not None:
            self._scope.watch(watch)
        self.write(FrameKind.WATCH, time_ns, msgspec.json.encode(watch))

    def containers(self, names: tuple[ContainerName, ...], time_ns: int) -> None:
        self._containers = names
        self._write_containers(
            names if self._scope is None else self._scope.containers(names), time_ns
        )

    def _write_containers(self, names: tuple[ContainerName, ...], time_ns: int) -> None:
        if names or self._scope is None:
            self.write(FrameKind.CONTAINERS, time_ns, msgspec.json.encode(names))

    def _of_command(self, raw: bytes, scope: CommandScope) -> bytes:
        """The record in the form that may be stored; empty for an event outside of the command's
        scope.
        """
        before = self._redactor.counts.total()
        try:
            event = decode(raw, self._redactor)
        except DecodeError:
            return scrub(raw, self._redactor)
        kept = scope.keep(event)
        if kept is None:
            return b""
        return raw if kept is event and self._redactor.counts.total() == before else encode(kept)

    def close(self) -> None:
        try:
            self._output.close()
        except OSError as error:  # the descriptor is closed all the same
            if not self.failure:
                self._fail(error)


class Recording:
    """Reads a recording. Iterate for its frames; `truncated` is set when the last one was cut."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = open_input(str(path))
        except (OSError, ValueError) as error:
            raise DataError(f"cannot read {path}: {getattr(error, 'strerror', error)}") from None
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
        if abs(header.wall_offset_ns) >= TIME_LIMIT_NS or header.host.page_bytes <= 0:
            raise DataError(f"{path}: its header is damaged")
        foreign = sorted(kind for kind, wire in header.wires.items() if WIRES.get(kind) != wire)
        if foreign:
            differ = ", ".join(foreign)
            raise DataError(
                f"{path} was made by another version, whose {differ} records differ: replay it "
                "with that one"
            )
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
