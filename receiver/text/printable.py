"""The one choke point that turns kernel bytes into text, and text into something a terminal can be shown."""

from __future__ import annotations

import re

# C0, DEL, C1, and the bidi and zero-width characters that make a line read other than it is (Trojan Source, CVE-2021-42574)
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def text(raw: bytes) -> str:
    """Kernel bytes as valid Unicode; what is not UTF-8 becomes U+FFFD, so no lone surrogate can reach protobuf."""
    return raw.decode("utf-8", "replace")


def texts(raw: bytes) -> tuple[str, ...]:
    """NUL-terminated strings, back to back; a last one that was cut lacks its NUL and still counts."""
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
    """A set of words, written as a line."""
    return frozenset(line.split())


def printable(value: str) -> str:
    """For terminals, our own log and reports: one line, and nothing in it moves the cursor or reverses the reading."""
    return _UNSAFE.sub(
        lambda m: f"\\x{ord(m[0]):02x}" if ord(m[0]) < 256 else f"\\u{{{ord(m[0]):x}}}", value
    )
