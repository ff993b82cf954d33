"""The cause cards of crashes."""

from __future__ import annotations

from receiver.investigate.cards import CauseClass
from receiver.investigate.causes.crash import (
    abort_ill,
    segv,
)

CARDS: tuple[CauseClass, ...] = (
    abort_ill.CARD,
    segv.CARD,
)
