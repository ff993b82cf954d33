"""The cause cards of limits."""

from __future__ import annotations

from receiver.investigate.cards import CauseClass
from receiver.investigate.causes.lim import (
    emfile,
    inotify,
    pids,
)

CARDS: tuple[CauseClass, ...] = (
    emfile.CARD,
    inotify.CARD,
    pids.CARD,
)
