"""Turns the frames of a Python interpreter, as the kernel half copied them, into texts.

The bytes are those of a process that may be hostile: whatever they hold, a record comes out that
has a function, a file and a line for each frame, and the flag DAMAGED where something was missing.
"""

from __future__ import annotations

import struct

import msgspec

from receiver.constants import PYTHON_FRAMES
from receiver.events import _PYTHON_STACK as LAYOUT
from receiver.events import DECODERS, EventKind, PythonFlag, PythonStack, encode
from receiver.kernel.python_lines import of_increments, of_locations, of_ranges
from receiver.text.redact import Redactor

_FRAME = struct.Struct("<iiIHHHBB")  # struct python_frame, bpf/python_maps.bpf.h
_NAME_CUT, _FILE_CUT, _LINES_CUT = 1, 2, 4
_ENCODINGS = {1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}  # PEP 393
_NEGATIVE = 1 << 31
UNKNOWN = "?"
CUT = "…"
_UNCHANGED = Redactor("off")  # the bytes are read here, and redacted where they become an event


def _text(raw: bytes, width: int) -> str:
    """Without surrogates and NUL, which a str may hold."""
    found = raw.decode(_ENCODINGS.get(width, "latin-1"), "replace")
    return found.encode("utf-8", "replace").decode().replace("\0", "\ufffd") or UNKNOWN


def _line(version: int, table: bytes, frame: tuple[int, ...]) -> int:
    """Of `frame`: its first line, instruction and flags."""
    first_line, instruction, flags = frame
    if first_line <= 0:
        return 0
    if instruction < 0:  # before its first instruction
        return first_line
    if version >= 0x030B:
        found = of_locations(table, first_line, instruction)
    elif version == 0x030A:
        found = of_ranges(table, first_line, instruction * 2)
    else:
        found = of_increments(table, first_line, instruction, whole=not flags & _LINES_CUT)
    return found if 0 < found < _NEGATIVE else 0


def _frames(version: int, raw: bytes) -> tuple[list[str], bool]:
    """Three texts for each frame; whether all of it is what it must be."""
    out: list[str] = []
    at, whole = 0, True
    while at < len(raw) and len(out) < 3 * PYTHON_FRAMES:
        if at + _FRAME.size > len(raw):
            return out, False
        first, instruction, flags, *lengths, name_width, file_width = _FRAME.unpack_from(raw, at)
        at += _FRAME.size
        parts = []
        for length in lengths:
            parts.append(raw[at : at + length])
            at += length
        if at > len(raw):
            return out, False
        name = _text(parts[0], name_width) + (CUT if flags & _NAME_CUT else "")
        file = (CUT if flags & _FILE_CUT else "") + _text(parts[1], file_width)
        out += [name, file, str(_line(version, parts[2], (first, instruction, flags)))]
        whole = whole and bool(parts[0] and parts[1])
    return out, whole


def readable(raw: bytes) -> bytes:
    """A record of the kernel half: one of a Python stack with its frames as texts, others as they
    are.
    """
    size = LAYOUT.size
    if int.from_bytes(raw[22:24], "little") != EventKind.PYTHON_STACK or len(raw) < size:
        return raw
    event = DECODERS[EventKind.PYTHON_STACK](raw[: size - 8] + bytes(8), _UNCHANGED)
    assert isinstance(event, PythonStack)
    if not event.python_flags & PythonFlag.RAW:
        return raw
    frames, whole = _frames(event.version, raw[size:])
    flags = event.python_flags & ~PythonFlag.RAW | (0 if whole else PythonFlag.DAMAGED)
    return encode(msgspec.structs.replace(event, python_flags=flags, frames=tuple(frames)))
