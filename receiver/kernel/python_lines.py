"""Line numbers from the line tables of CPython's code objects.

Each function gives the line of one instruction; 0 when the table does not tell it: it ends before
the instruction, or the instruction has no line.
"""

from __future__ import annotations

NO_LOCATION, LONG, NO_COLUMNS, ONE_LINE = 15, 14, 13, 10  # PyCodeLocationInfoKind, pycore_code.h
_NO_LINE = -128  # of 3.10


def _signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


def _variable(table: bytes, at: int) -> tuple[int, int]:
    """A number of 6 bits in each byte, and where the next byte is. Raises IndexError."""
    value = shift = 0
    while True:
        byte = table[at]
        value |= (byte & 63) << shift
        at, shift = at + 1, shift + 6
        if not byte & 64 or shift > 60:
            return value, at


def of_locations(table: bytes, first_line: int, offset: int) -> int:
    """3.11 and later: co_linetable (Objects/locations.md). `offset` in bytes."""
    line, at, begin = first_line, 0, 0
    try:
        while at < len(table):
            head = table[at]
            kind, length, at = head >> 3 & 15, ((head & 7) + 1) * 2, at + 1
            if kind in (LONG, NO_COLUMNS):
                delta, at = _variable(table, at)
                line += -(delta >> 1) if delta & 1 else delta >> 1
                for _ in range(3 if kind == LONG else 0):
                    _, at = _variable(table, at)
            elif ONE_LINE <= kind < NO_COLUMNS:
                line, at = line + kind - ONE_LINE, at + 2
            elif kind != NO_LOCATION:
                at += 1
            if begin + length > offset:
                return line if kind != NO_LOCATION and at <= len(table) else 0
            begin += length
    except IndexError:
        pass
    return 0


def of_ranges(table: bytes, first_line: int, offset: int) -> int:
    """3.10: co_linetable (Objects/lnotab_notes.txt). `offset` in bytes."""
    line, end = first_line, 0
    for at in range(0, len(table) - 1, 2):
        delta = _signed(table[at + 1])
        end += table[at]
        if delta != _NO_LINE:
            line += delta
        if offset < end:
            return line if delta != _NO_LINE else 0
    return 0


def of_increments(table: bytes, first_line: int, offset: int, *, whole: bool) -> int:
    """3.8 and 3.9: co_lnotab. Behind its end, a whole table has the line of its last entry."""
    line, begin = first_line, 0
    for at in range(0, len(table) - 1, 2):
        begin += table[at]
        if begin > offset:
            return line
        line += _signed(table[at + 1])
    return line if whole else 0
