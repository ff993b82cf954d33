"""Draws compositions: the number and the set give the seed, and the seed gives all."""

from __future__ import annotations

import math
import random
from functools import cache

import msgspec

from tests.incidents.generated import contexts, noise, stories
from tests.incidents.generated.faults import FAULTS
from tests.incidents.generated.model import Composition
from tests.incidents.generated.workloads import STRUCTURES

# `judging` is never looked into case by case. If it was, draw a new one: count its number up.
SETS = {"development": "development-1", "judging": "judging-1"}
STORY_SHARE = 8  # one of so many compositions is a wire story
_SHORTEST, _MEDIAN, _SPREAD, _LONGEST, _LONG_SHARE = 200, 900, 0.8, 90_000, 0.01


@cache
def _order(name: str) -> tuple[str, ...]:
    """The faults in a drawn order, each as often as its weight:
    every part of a set has nearly all."""
    every = [f.name for f in FAULTS.values() for _ in range(f.weight)]
    random.Random(SETS[name]).shuffle(every)
    return tuple(every)


def _weighted(draw: random.Random, names: list[str], weights: dict[str, float]) -> str:
    return draw.choices(names, [weights.get(n, 1.0) for n in names])[0]


def is_story(number: int) -> bool:
    return number % STORY_SHARE == STORY_SHARE - 1


def compose(name: str, number: int) -> Composition:
    """The composition of this number. `structure` "story" is played on constructed events."""
    seed = f"{SETS[name]}:{number}"
    draw = random.Random(seed)
    if is_story(number):
        chosen = stories.draw(draw)
        seconds = math.exp(draw.uniform(math.log(60), math.log(86_400)))
        return Composition(
            number=number,
            seed=seed,
            fault=chosen,
            language="python",
            structure="story",
            wrappers=(),
            output="pipe",
            noise="quiet",
            milliseconds=int(seconds * 1000),
            moment=draw.uniform(0.1, 0.9),
        )
    order = _order(name)
    live = number - number // STORY_SHARE
    fault = FAULTS[order[live % len(order)]]
    wrappers = _wrappers(draw, fault.pid_namespaces)
    length = min(
        _LONGEST,
        max(_SHORTEST, fault.at_least_ms, int(draw.lognormvariate(math.log(_MEDIAN), _SPREAD))),
    )
    found = Composition(
        number=number,
        seed=seed,
        fault=fault.name,
        language=draw.choice(fault.languages),
        structure=draw.choice(fault.structures or tuple(STRUCTURES)),
        wrappers=wrappers,
        output=draw.choice(contexts.OUTPUTS),
        noise=_weighted(draw, list(noise.NOISE), noise.WEIGHTS),
        milliseconds=length,
        moment=round(draw.uniform(0.1, 0.9), 3),
    )
    if draw.random() < _LONG_SHARE:
        return msgspec.structs.replace(found, milliseconds=draw.randrange(_LONGEST // 3, _LONGEST))
    return found


def _wrappers(draw: random.Random, pid_namespaces: bool) -> tuple[str, ...]:
    names = [n for n in contexts.WRAPPERS if pid_namespaces or n not in contexts.PID_NAMESPACES]
    found: list[str] = []
    for _ in range(draw.choice((0, 0, 1, 1, 2, 3))):
        each = _weighted(draw, names, contexts.WEIGHTS)
        if each not in found and not (
            each in contexts.PID_NAMESPACES and any(n in found for n in contexts.PID_NAMESPACES)
        ):
            found.append(each)
    return tuple(found)


def twin(composition: Composition) -> Composition:
    """The same without the fault."""
    return msgspec.structs.replace(composition, sick=False)
