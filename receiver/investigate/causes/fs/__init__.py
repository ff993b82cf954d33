"""The cause cards of files and file systems."""

from __future__ import annotations

from receiver.investigate.cards import CauseClass
from receiver.investigate.causes.fs import (
    concurrent_writers,
    eacces,
    enospc,
    gone,
    inodes_quota,
    lock,
    netfs,
    noexec,
    path_exists,
    path_missing,
    path_unusable,
    read_early,
    replaced,
    slow_io,
    stale_input,
    truncated,
    unreadable,
)

CARDS: tuple[CauseClass, ...] = (
    concurrent_writers.CARD,
    eacces.CARD,
    enospc.CARD,
    gone.CARD,
    inodes_quota.CARD,
    lock.CARD,
    netfs.CARD,
    noexec.CARD,
    path_exists.CARD,
    path_missing.CARD,
    path_unusable.CARD,
    read_early.CARD,
    replaced.CARD,
    slow_io.CARD,
    stale_input.CARD,
    truncated.CARD,
    unreadable.CARD,
)
