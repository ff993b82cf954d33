"""The cause cards of clocks."""

from __future__ import annotations

from receiver.investigate.cards import CauseClass
from receiver.investigate.causes.time import (
    clock,
)

CARDS: tuple[CauseClass, ...] = (clock.CARD,)
