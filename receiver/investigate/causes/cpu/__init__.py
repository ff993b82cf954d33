"""The cause cards of CPU time."""

from __future__ import annotations

from receiver.investigate.cards import CauseClass
from receiver.investigate.causes.cpu import (
    neighbour,
    quota,
)

CARDS: tuple[CauseClass, ...] = (
    neighbour.CARD,
    quota.CARD,
)
