"""Bytes to events. Total: any input gives a value or a DecodeError with a reason from a closed set; nothing else leaves."""

from __future__ import annotations

import struct
from struct import Struct

from receiver.errors import DecodeError
from receiver.events import DECODERS, VALID, Event, encode
from receiver.text.redact import Redactor

_HEADER = Struct("<QQIHH")  # struct event_header
REASONS = ("short", "size", "unknown_kind", "layout", "range")


def decode(raw: bytes, redactor: Redactor) -> Event:
    """One whole record. Reasons: short (no header), size (not as long as it says), unknown_kind, layout, range (a value that
    its field cannot have: what comes out of here needs no check later)."""
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
    except Exception:  # struct.error, ValueError: a record that is not what it says
        raise DecodeError("layout") from None
    if not VALID[kind](event):
        raise DecodeError("range")
    return event


def split(records: bytes) -> list[bytes]:
    """Records that stand back to back; what cannot be a record comes out as the last element, for `decode` to refuse."""
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
    """The record as it may be stored: the very bytes, unless a secret had to be taken out of them."""
    before = redactor.counts.total()
    try:
        event = decode(raw, redactor)
    except DecodeError:
        return raw[: _HEADER.size]  # stays a counted decode error on replay, and carries nothing
    if redactor.counts.total() == before:
        return raw
    try:
        return encode(event)
    except (
        struct.error
    ):  # marks and replacement characters made a text longer than its length field can say
        return raw[: _HEADER.size]
