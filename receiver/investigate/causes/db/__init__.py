"""The cause cards of databases."""

from __future__ import annotations

from receiver.investigate.cards import CauseClass
from receiver.investigate.causes.db import (
    lock_wait,
)

CARDS: tuple[CauseClass, ...] = (lock_wait.CARD,)
