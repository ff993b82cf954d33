"""What a form of a sentence is, and what its decider asks.

A form is a regular expression over a part of a sentence. `P1`, `F` and `N` stand for a process, a
path and a number. A decider returns True or False, or None where the witnesses do not tell.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from tests.truth.polls import Polls
from tests.truth.strace import Life, Witness

MIB = 1 << 20
SLACK_SECONDS, SLACK_SHARE = 0.35, 0.1  # strace delays what it watches
MEMORY_SLACK = 3 * MIB  # between two looks


class Scene(msgspec.Struct):
    """What the witnesses know of one run."""

    strace: Witness
    polls: Polls
    root: int
    report: dict[str, Any] = msgspec.field(default_factory=dict)

    def life(self, pid: str | int) -> Life | None:
        return self.strace.of(int(pid))


Decider = Callable[..., bool | None]
FORMS: list[tuple[re.Pattern[str], Decider]] = []
_PARTS = {
    "P1": r"(?P<n1>[^\s(]+) \((?P<p1>\d+)\)",
    "P2": r"(?P<n2>[^\s(]+) \((?P<p2>\d+)\)",
    "F": r"(?P<path>/\S*[^\s.,:;])",
    "SECONDS": r"(?P<seconds>\d+(?:\.\d+)?) s",
    "CODE": r"(?P<code>\d+)",
    "ENDPOINT": r"(?P<endpoint>\[?[0-9a-f.:]*[0-9a-f]\]?:\d+)",
    "ERROR": r"(?P<error>E[A-Z0-9]+)",
    "SIG": r"(?P<sig>SIG[A-Z0-9]+)",
    "MIB": r"(?P<mib>\d+(?:\.\d+)?) MiB",
    "MIC": r"(?P<mic>\d+(?:\.\d+)?) MiB",
}


def form(pattern: str) -> Callable[[Decider], Decider]:
    for name, part in _PARTS.items():
        pattern = re.sub(rf"\b{name}\b", part.replace("\\", r"\\"), pattern)
    compiled = re.compile(pattern)

    def note(decide: Decider) -> Decider:
        FORMS.append((compiled, decide))
        return decide

    return note


def near(claimed: float, seen: float, slack: float = SLACK_SECONDS) -> bool:
    return abs(claimed - seen) <= slack + SLACK_SHARE * max(abs(claimed), abs(seen))


def sent(scene: Scene, life: Life, name: str) -> list[int]:
    """Pids below our eyes that sent this signal to the process or its group."""
    return [
        pid
        for at, pid, target, word in scene.strace.kills
        if word == name and (abs(target) == life.pid or target <= 0) and at <= life.ended + 0.5
    ]


def same_path(claimed: str, seen: str) -> bool:
    """`seen` is relative where the line of strace does not say to what."""
    if seen.startswith("/"):
        return claimed == seen
    return claimed.endswith("/" + seen.removeprefix("./"))


def ended_by_itself(scene: Scene, life: Life) -> bool:
    """With status 0, and without a signal that anybody sent it."""
    return life.code == 0 and not any(s.code == "SI_USER" for s in life.signals)


def failed(life: Life) -> bool:
    return bool(life.ended) and life.code != 0
