"""The registry of faults."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence

import msgspec

from tests.incidents.generated.bench import Bench
from tests.incidents.generated.model import LANGUAGES, Plan, Run, Stage
from tests.incidents.results import Truth

Maker = Callable[[Bench], Plan]


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """`visible`: K, P or N. `weight`: how often it is drawn. `pid_namespaces`:
    whether it works inside of one. `at_least_ms`: the shortest run in which it can happen."""

    name: str
    visible: str
    make: Maker
    languages: tuple[str, ...]
    weight: int
    pid_namespaces: bool
    at_least_ms: int
    structures: tuple[str, ...]


FAULTS: dict[str, Fault] = {}


def fault(
    visible: str,
    *,
    languages: tuple[str, ...] = LANGUAGES,
    weight: int = 1,
    pid_namespaces: bool = True,
    at_least_ms: int = 200,
    structures: tuple[str, ...] = (),
) -> Callable[[Maker], Maker]:
    """Registers a fault. `structures`: the only ones that show it; none: all."""

    def note(make: Maker) -> Maker:
        name = make.__name__
        FAULTS[name] = Fault(
            name=name,
            visible=visible,
            make=make,
            languages=languages,
            weight=weight,
            pid_namespaces=pid_namespaces,
            at_least_ms=at_least_ms,
            structures=structures,
        )
        return make

    return note


def logged(pattern: str) -> Callable[[Run], bool]:
    """The run's own output shows it."""
    return lambda run: re.search(pattern, run.log) is not None


def noted(key: str) -> Callable[[Run], bool]:
    """The injector did it."""
    return lambda run: key in run.notes


def failed(run: Run) -> bool:
    return run.status != 0


def both(*checks: Callable[[Run], bool]) -> Callable[[Run], bool]:
    return lambda run: all(check(run) for check in checks)


def tool(b: Bench, role: str, code: str, *words: str) -> str:
    """The words that start a program in Python. It writes its pid at first."""
    path = b.folder / "bin" / f"{b.names.program()}.py"
    note = f"with open({b.pid_file(role)!r}, 'w') as f: f.write(os.readlink('/proc/self'))\n"
    path.write_text(f"import os, socket, subprocess, sys, time\n{note}{code}\n")
    return " ".join([sys.executable, "-S", str(path), *words])


def started(b: Bench, words: str, *, before: Sequence[str] = ()) -> list[Stage]:
    """A step of the drawn language that starts such a program."""
    return b.one(b.step("step", [f"run {words}"], before=before))


NOTHING = Truth("none.not_visible", verdict="not_visible")
