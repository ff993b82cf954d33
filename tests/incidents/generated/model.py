"""The parts of a composition: steps, stages, and the plan that a fault makes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from tests.incidents.results import Truth

LANGUAGES = ("python", "bash", "c", "java", "perl", "node", "go")


class Composition(msgspec.Struct, frozen=True, kw_only=True):
    """What the seed draws. A twin differs in `sick` alone."""

    number: int
    seed: str
    fault: str
    language: str
    structure: str
    wrappers: tuple[str, ...]
    output: str
    noise: str
    milliseconds: int
    moment: float
    sick: bool = True


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One process of the workload. `before`: the words in front of its command; `options`:
    of its interpreter."""

    language: str
    name: str
    operations: tuple[str, ...]
    before: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


class Stage(msgspec.Struct, frozen=True):
    """Steps that run at the same time. `tolerant`: the orchestrator goes on if one fails."""

    steps: tuple[Step, ...]
    tolerant: bool = False


class Run(msgspec.Struct):
    """What is known after a run: output and errors, the exit status, pids by role,
    and what the injector noted."""

    log: str = ""
    status: int = 0
    pids: dict[str, int] = {}
    notes: dict[str, str] = {}
    report: dict[str, object] = {}
    folder: Path = Path()


class Plan(msgspec.Struct, kw_only=True):
    """A workload with its fault (or without it, for a twin) and the truth about it.

    `happened` gives whether the run's own record shows the fault. `during` is the injector.
    """

    stages: list[Stage]
    truth: Truth
    happened: Callable[[Run], bool]
    during: Callable[[], None] | None = None
    inside: tuple[str, ...] = ()
