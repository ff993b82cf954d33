"""Turns kernel bytes into text, and text into characters that are safe on a terminal.

Nothing else does.
"""

from __future__ import annotations

import re

# C0, DEL, C1, and the bidi and zero-width characters that make a line look different (Trojan
# Source, CVE-2021-42574)
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def text(raw: bytes) -> str:
    """Kernel bytes as valid Unicode.

    Bytes that are not UTF-8 become U+FFFD, so no lone surrogate can reach protobuf.
    """
    return raw.decode("utf-8", "replace")


def texts(raw: bytes) -> tuple[str, ...]:
    """NUL-terminated strings, back to back. A truncated last one lacks its NUL and still counts."""
    if not raw:
        return ()
    parts = raw.decode("utf-8", "replace").split("\0")
    if not parts[-1]:
        parts.pop()
    return tuple(parts)


def joined(parts: tuple[str, ...]) -> bytes:
    """The inverse of `texts`."""
    return b"".join(part.encode() + b"\0" for part in parts)


def words(line: str) -> frozenset[str]:
    """A set of words from one line."""
    return frozenset(line.split())


def printable(value: str) -> str:
    """For terminals, logs and reports: one line, in which nothing moves the cursor or reverses the
    reading order.
    """
    return _UNSAFE.sub(
        lambda m: f"\\x{ord(m[0]):02x}" if ord(m[0]) < 256 else f"\\u{{{ord(m[0]):x}}}", value
    )
