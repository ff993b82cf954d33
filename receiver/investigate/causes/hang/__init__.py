"""The cause cards of waits that do not end."""

from __future__ import annotations

from receiver.investigate.cards import CauseClass
from receiver.investigate.causes.hang import (
    fifo_partner,
    fork_lock,
    gc_stall,
    lock_holder_killed,
    pipe_full,
    pipe_held,
    stopped,
)

CARDS: tuple[CauseClass, ...] = (
    fifo_partner.CARD,
    fork_lock.CARD,
    gc_stall.CARD,
    lock_holder_killed.CARD,
    pipe_full.CARD,
    pipe_held.CARD,
    stopped.CARD,
)
