"""The cause cards of the data."""

from __future__ import annotations

from receiver.investigate.cards import CauseClass
from receiver.investigate.causes.data import (
    skew,
)

CARDS: tuple[CauseClass, ...] = (skew.CARD,)
