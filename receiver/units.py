"""Units of time and size that the whole package uses."""

from __future__ import annotations

SECOND = 1_000_000_000  # in ns
KIB = 1 << 10
MIB = 1 << 20
