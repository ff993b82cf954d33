"""Recognises histories by their first page alone. Reading it changes nothing, not even a lock.

A history has kwitness's application id. A history of version 0.1 has none; it is recognised by the
statements that created its tables, which SQLite keeps on the first page. If the database was never
checkpointed, the first page is in the write-ahead log.

Source: https://www.sqlite.org/fileformat2.html, 1.3 (header), 2.6 (sqlite_schema), 4.1 (write-ahead
log).
"""

from __future__ import annotations

from struct import Struct

from receiver.units import MIB

APPLICATION_ID = 0x6B776974  # "kwit"
RUNS_TABLE = "CREATE TABLE runs (system TEXT, pipeline TEXT, task TEXT, ended INTEGER, body BLOB)"
SIGHTINGS_TABLE = "CREATE TABLE sightings (signature TEXT PRIMARY KEY, last INTEGER, body BLOB)"
PAGE_BYTES = 65_536  # the largest page
LOG_BYTES = 8 * MIB  # how much of a write-ahead log is read: SQLite checkpoints at 4 MiB
_MAGIC = b"SQLite format 3\0"
_USER_VERSION, _APPLICATION_ID = 60, 68
_NUMBER = Struct(">I")
_LOG_HEADER, _FRAME_HEADER = 32, 24
_LOG_MAGIC = {0x377F0682, 0x377F0683}


def is_history(page: bytes, log: bytes = b"") -> bool:
    """Whether a database with this first page and write-ahead log is a history, of any version."""
    return _is_marked(page) or (_is_blank(page) and _is_marked(_first_page_in_log(log)))


def _is_marked(page: bytes) -> bool:
    if len(page) < 100 or not page.startswith(_MAGIC):
        return False
    identity: int = _NUMBER.unpack_from(page, _APPLICATION_ID)[0]
    version: int = _NUMBER.unpack_from(page, _USER_VERSION)[0]
    if identity == APPLICATION_ID:
        return True
    made = RUNS_TABLE.encode() in page and SIGHTINGS_TABLE.encode() in page
    return identity == 0 and version == 1 and made


def _is_blank(page: bytes) -> bool:
    """Whether this is the first page of a database without an application id."""
    return (
        page.startswith(_MAGIC)
        and len(page) >= 100
        and not any(page[60:64])
        and not any(page[68:72])
    )


def _first_page_in_log(log: bytes) -> bytes:
    """The latest first page in a write-ahead log, or nothing."""
    if len(log) < _LOG_HEADER or _NUMBER.unpack_from(log)[0] not in _LOG_MAGIC:
        return b""
    size: int = _NUMBER.unpack_from(log, 8)[0]
    if not 512 <= size <= PAGE_BYTES or size & (size - 1):
        return b""
    salts, found = log[16:24], b""
    for at in range(_LOG_HEADER, len(log) - _FRAME_HEADER - size + 1, _FRAME_HEADER + size):
        if log[at + 8 : at + 16] != salts:
            break
        if _NUMBER.unpack_from(log, at)[0] == 1:
            found = log[at + _FRAME_HEADER : at + _FRAME_HEADER + size]
    return found
