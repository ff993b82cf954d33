"""Scenes: ways to break a pipeline that are played in the laboratory, each with its truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from tests.incidents.lab import Lab
from tests.incidents.results import Result, Truth
from tests.truth.check import Verdicts


class Scene(msgspec.Struct, frozen=True):
    name: str
    card: str
    tier: str
    visible: str
    play: Callable[[Lab], Truth]
    variants: int
    group: str


SCENES: dict[str, Scene] = {}


def scene(
    card: str, tier: str, visible: str, *, variants: int = 3, group: str = ""
) -> Callable[[Callable[[Lab], Truth]], Callable[[Lab], Truth]]:
    """Registers a scene. `group`: its twins."""

    def note(play: Callable[[Lab], Truth]) -> Callable[[Lab], Truth]:
        name = play.__name__
        SCENES[name] = Scene(name, card, tier, visible, play, variants, group or name)
        return play

    return note


def witnessed(chosen: Scene, variant: int) -> tuple[Truth, str, Verdicts]:
    """The truth and the verdict of one run, and what the witnesses say of its report."""
    lab = Lab(variant)
    lab.witnessed = True
    try:
        truth = chosen.play(lab)
        return truth, lab.report["verdict"], lab.verdicts
    finally:
        lab.close()


def play(chosen: Scene, variant: int, keep: Path | None = None) -> Result:
    """One run. Raises UnavailableError where the machine cannot."""
    lab = Lab(variant, keep)
    try:
        truth = chosen.play(lab)
        culprit = {k: lab.pids.get(v, v) if k == "pid" else v for k, v in truth.culprit.items()}
        late = max(0.0, lab.ended_at - lab.fault_at) if lab.fault_at else 0.0
        return Result(
            chosen.name,
            chosen.card,
            chosen.tier,
            chosen.visible,
            variant,
            msgspec.structs.replace(truth, culprit=culprit),
            lab.report,
            lab.status,
            t_report=late,
            log=lab.output[-6000:],
        )
    finally:
        lab.close()


def every(names: list[str]) -> Iterator[tuple[Scene, int]]:
    """Chosen by beginnings of their names; all when none is named."""
    import tests.incidents.scenes

    del tests
    for chosen in SCENES.values():
        if not names or any(chosen.name.startswith(n) or chosen.group == n for n in names):
            for variant in range(chosen.variants):
                yield chosen, variant
