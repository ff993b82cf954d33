"""What really happened in a run, and what was reported of it."""

from __future__ import annotations

from typing import Any

import msgspec


class Truth(msgspec.Struct, frozen=True):
    """What really happened, as the injector knows it. `culprit`: one of pid, path, address, cgroup;
    several if all are right."""

    cause: str
    culprit: dict[str, Any] = {}
    verdict: str = "incident"
    rivals: tuple[str, ...] = ()
    also_right: tuple[str, ...] = ()  # classes that are as good an answer


class Result(msgspec.Struct):
    """One run: its truth and the report."""

    scene: str
    card: str
    tier: str
    visible: str
    variant: int
    truth: Truth
    report: dict[str, Any]
    status: int
    t_fault: float = 0.0
    t_report: float = 0.0
    log: str = ""
