"""Decodes bytes into events.

Any input gives an event or a DecodeError with a reason from a closed set; no other exception is
raised.
"""

from __future__ import annotations

import struct
from struct import Struct

from receiver.errors import DecodeError
from receiver.events import DECODERS, VALID, Event, encode
from receiver.text.redact import Redactor

_HEADER = Struct("<QQIHH")  # struct event_header
REASONS = ("short", "size", "unknown_kind", "layout", "range")


def decode(raw: bytes, redactor: Redactor) -> Event:
    """One whole record.

    Reasons: short (no header), size (another length than the header says), unknown_kind, layout,
    range (a value that its field cannot have). An event needs no check later.
    """
    if len(raw) < _HEADER.size:
        raise DecodeError("short")
    size, kind = int.from_bytes(raw[16:20], "little"), int.from_bytes(raw[22:24], "little")
    if size != len(raw):
        raise DecodeError("size")
    decoder = DECODERS.get(kind)
    if decoder is None:
        raise DecodeError("unknown_kind")
    try:
        event = decoder(raw, redactor)
    except Exception:  # struct.error, ValueError: the record contradicts its header
        raise DecodeError("layout") from None
    if not VALID[kind](event):
        raise DecodeError("range")
    return event


def split(records: bytes) -> list[bytes]:
    """Splits records that follow each other directly.

    A malformed rest comes out as the last element, which `decode` refuses.
    """
    out: list[bytes] = []
    at = 0
    while at < len(records):
        size = int.from_bytes(records[at + 16 : at + 20], "little")
        if size < _HEADER.size:
            size = len(records) - at
        out.append(records[at : at + size])
        at += size
    return out


def order(raw: bytes) -> tuple[int, int, int]:
    """The sort key of a record: time, CPU, sequence."""
    time, sequence, _, cpu, _ = (
        _HEADER.unpack_from(raw) if len(raw) >= _HEADER.size else (0, 0, 0, 0, 0)
    )
    return time, cpu, sequence


def scrub(raw: bytes, redactor: Redactor) -> bytes:
    """The record as it may be stored: unchanged, unless a secret had to be removed."""
    before = redactor.counts.total()
    try:
        event = decode(raw, redactor)
    except DecodeError:
        return raw[: _HEADER.size]  # it stays a counted decode error on replay and carries no data
    if redactor.counts.total() == before:
        return raw
    try:
        return encode(event)
    except (
        struct.error
    ):  # marks and replacement characters made a text longer than its length field can hold
        return raw[: _HEADER.size]
