"""A recording holds all inputs of the core in order, so that a replay makes the same works,
findings, reports and signals, byte for byte.

    kwitness-recording 3\\n
    {"wires": {kind: hash}, "host": {…}, "wall_offset_ns": …, "holds": …, "settings": …}\\n
    frame*          u8 kind, u32 length, i64 time (boot ns), payload

All text is redacted when it is written. A recording of a command (`holds`: "command") has the
command and its children in full, and only the identity of other processes
(receiver.observe.recording_scope). `settings` are the options and the rules of the core. Of the
history, a recording holds the entries that the reports used.

Version 2 had no settings, and no frames after BLIND; it is read, too. Reading refuses another
version or wire layout. A truncated last frame is dropped and reported (`truncated`).
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from struct import Struct
from typing import Annotated

import msgspec

from receiver.attribution.rules import RULES, Rule
from receiver.errors import DataError
from receiver.events import TIME_LIMIT_NS, WIRE_HASHES
from receiver.model import CoreOptions, Host
from receiver.safe.files import open_input
from receiver.units import MIB

MAGIC = b"kwitness-recording 3\n"
READABLE = (b"kwitness-recording 2\n", MAGIC)
FRAME = Struct("<BIq")
_LENGTH_LIMIT = 64 * MIB
_HEADER_LIMIT = 4 * MIB  # a configuration has at most 1 MiB
HOST_CONTENTS = "all processes of the host, with arguments, paths and endpoints, secrets redacted"
COMMAND_CONTENTS = "the command and its children; of other processes pid, start time and name only"
SETTINGS_CONTENTS = "the settings, alerts, notes and earlier runs that its reports used"


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
    UNSEEN = 10  # JSON [{text, kinds} or text, …]: what the source cannot see on its host
    GAP = 11  # JSON Gap
    ALERT = 12  # JSON AlertQuery
    HISTORY = 13  # empty: reports are compared with earlier runs from here on
    USED = 14  # JSON Used: the entries of the history that the frame before this one used
    NOTE = 15  # JSON [signature, text]
    METRICS = 16  # JSON bool: the metrics were read; whether they were exported
    FUNCTIONS = 17  # JSON [incident id, [CrashLine, …]]: the names of functions in its crashes
    PASSED = 18  # i64 ns, …: times of events that a recording of a command leaves out


class Settings(msgspec.Struct, frozen=True):
    """What the user of the live run had configured."""

    options: CoreOptions
    rules: Annotated[tuple[Rule, ...], msgspec.Meta(max_length=RULES)] = ()


class Header(msgspec.Struct, frozen=True):
    """`wire_hashes`: the hash of the layout of every kind that the writer knew.

    Kinds that were added later do not matter.
    """

    # the file format calls it `wires`
    wire_hashes: dict[str, str] = msgspec.field(name="wires")
    host: Host
    wall_offset_ns: int
    # "host": all processes; "command": one command's; empty in recordings of earlier versions,
    # which hold all
    holds: str = ""
    settings: Settings | None = None  # None: the recording is of version 2

    @property
    def contents(self) -> str:
        """Its content, in words."""
        events = COMMAND_CONTENTS if self.holds == "command" else HOST_CONTENTS
        return events if self.settings is None else f"{events}; {SETTINGS_CONTENTS}"


class _HeaderOfEvents(msgspec.Struct, frozen=True):
    """The header without the settings: they may be those of another version."""

    wire_hashes: dict[str, str] = msgspec.field(name="wires")
    host: Host
    wall_offset_ns: int
    holds: str = ""


class Frame(msgspec.Struct, frozen=True):
    kind: int
    time_ns: int
    payload: bytes


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
        if self._file.readline(64) not in READABLE:
            raise DataError(f"{path} is not a kwitness recording of version 2 or 3")
        header = _decode_header(path, self._file.readline(_HEADER_LIMIT))
        if abs(header.wall_offset_ns) >= TIME_LIMIT_NS or header.host.page_bytes <= 0:
            raise DataError(f"{path}: its header is damaged")
        foreign = sorted(
            kind for kind, wire in header.wire_hashes.items() if WIRE_HASHES.get(kind) != wire
        )
        if foreign:
            differ = ", ".join(foreign)
            raise DataError(
                f"{path} was made by another version, whose {differ} records differ: replay it "
                "with that one"
            )
        return header

    def __iter__(self) -> Iterator[Frame]:
        with self._file:
            while head := self._file.read(FRAME.size):
                if len(head) < FRAME.size:
                    self.truncated = True
                    return
                kind, length, time_ns = FRAME.unpack(head)
                payload = self._file.read(length) if length <= _LENGTH_LIMIT else b""
                if len(payload) != length:
                    self.truncated = True
                    return
                yield Frame(kind, time_ns, payload)

    def close(self) -> None:
        self._file.close()


def _decode_header(path: Path, line: bytes) -> Header:
    try:
        header = msgspec.json.decode(line, type=Header)
        if header.settings is None or not any(r.problem() for r in header.settings.rules):
            return header
    except (ValueError, RecursionError):
        pass
    try:
        msgspec.json.decode(line, type=_HeaderOfEvents)
    except (ValueError, RecursionError):
        raise DataError(f"{path}: its header is damaged") from None
    raise DataError(
        f"{path} holds settings that this version does not know: replay it with the version that "
        "made it"
    )
