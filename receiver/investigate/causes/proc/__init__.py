"""The cause cards of processes and their status."""

from __future__ import annotations

from receiver.investigate.cards import CauseClass
from receiver.investigate.causes.proc import (
    duplicate_run,
    exec_refused,
    exit_masked,
    interpreter,
    sigpipe,
    zombies,
)

CARDS: tuple[CauseClass, ...] = (
    duplicate_run.CARD,
    exec_refused.CARD,
    exit_masked.CARD,
    interpreter.CARD,
    sigpipe.CARD,
    zombies.CARD,
)
