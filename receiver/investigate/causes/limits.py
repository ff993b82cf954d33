"""Time limits: who sets them, and how close an age is to a common one."""

from __future__ import annotations

import math
import re
from bisect import bisect
from collections.abc import Sequence

import msgspec

from receiver.events import Signal
from receiver.investigate.evidence import (
    STRONG,
)
from receiver.investigate.snapshot import ProcessSnapshot

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0  # in seconds
# Limits that people choose, in seconds.
_COMMON = (
    *(1, 2, 3, 5, 10, 15, 20, 30, 45),
    *(n * MINUTE for n in (1, 1.5, 2, 3, 4, 5, 10, 15, 20, 30, 45)),
    *(n * HOUR for n in (1, 1.5, 2, 3, 4, 6, 8, 12)),
    *(n * DAY for n in (1, 2, 7)),
)
# A limit ends a process when it is over, at most so many seconds later. A timer may have been
# started a little before the process.
_EARLY, _LATE = 0.02, 0.25
_DURATION = re.compile(r"(\d+(?:\.\d+)?|\.\d+)([smhd]?)")
_UNITS = {"": 1, "s": 1, "m": MINUTE, "h": HOUR, "d": DAY}
_TAKES_VALUE = ("-s", "--signal", "-k", "--kill-after")


class CommonLimit(msgspec.Struct, frozen=True):
    """A common limit, and the share of all ages near it that are as close to a limit."""

    seconds: float
    chance: float

    @property
    def weight(self) -> float:
        """The log-odds that the age is so close because of the limit, and not by chance."""
        return min(STRONG, -math.log(self.chance))


def common_limit(seconds: float) -> CommonLimit | None:
    """Returns the common limit that ended after this time, or None."""
    at = bisect(_COMMON, seconds + _EARLY) - 1
    if at < 0 or seconds - _COMMON[at] > _LATE:
        return None
    before = _COMMON[at - 1] if at else 0
    after = _COMMON[at + 1] if at + 1 < len(_COMMON) else 2 * _COMMON[at]
    return CommonLimit(_COMMON[at], min(1.0, (_EARLY + _LATE) / ((after - before) / 2)))


def stated_limit(argv: Sequence[str]) -> float | None:
    """Returns the seconds in a command line of timeout(1): `timeout -s KILL 36 python3 x.py`."""
    skip = False
    for word in argv[1:]:
        if skip:
            skip = False
        elif word in _TAKES_VALUE:
            skip = True
        elif not word.startswith("-"):
            found = _DURATION.fullmatch(word)
            return float(found[1]) * _UNITS[found[2]] if found is not None else None
    return None


def is_time_limit(event: Signal, sender: ProcessSnapshot | None) -> bool:
    """Whether timeout(1) sent the signal."""
    return event.sender_comm == "timeout" or (sender is not None and sender.name == "timeout")
