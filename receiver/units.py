"""Units of time and size that the whole package uses."""

from __future__ import annotations

from receiver.constants import SECOND as SECOND  # ns; the kernel half needs it, too

KIB = 1 << 10
MIB = 1 << 20
