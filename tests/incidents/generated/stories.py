"""Wire stories: runs of a minute to a day, told as kernel records on a scaled clock."""

from __future__ import annotations

import errno
import json
import random
import signal
from collections.abc import Callable
from typing import Any

from receiver.events import CallFailed, CallKind, ProcessKey
from receiver.investigate.report import to_json
from tests.builders import Story
from tests.incidents.generated.model import Composition
from tests.incidents.generated.names import Names
from tests.incidents.results import Truth

_TICKS = 200  # of a whole run
STRANGER = ProcessKey(666, 5)


class Teller:
    """One run: a root, its steps one after the other, and the one that the fault is about."""

    def __init__(self, composition: Composition) -> None:
        self.draw = random.Random(composition.seed)
        self.names, self.story = Names(self.draw), Story()
        self.sick = composition.sick
        self._tick = composition.milliseconds / 1000 / _TICKS
        self._at = composition.moment
        self.root = self.story.command(
            self.draw.choice(("bash", "python3", "make", "node")), f"{self.names.program()}.sh"
        )

    def passes(self, share: float) -> None:
        """So much of the run's time."""
        for _ in range(max(1, int(_TICKS * share))):
            self.story.tick(self._tick)

    def ordinary(self) -> None:
        step = self.step()
        self.story.reads(step, f"/data/{self.names.file()}", inode=self.draw.randrange(100, 10_000))
        self.passes(0.05)
        self.story.writes(
            step, f"/data/{self.names.file()}", inode=self.draw.randrange(100, 10_000)
        )
        self.story.exit(step)

    def step(self, parent: ProcessKey | None = None) -> ProcessKey:
        program = self.draw.choice(("python3", "java", "perl", "node"))
        return self.story.spawn(parent or self.root, program, self.names.program())

    def until(self) -> None:
        self.passes(self._at)

    def ends(
        self, step: ProcessKey, code: int = 0, number: int = 0, *, root: int | None = None
    ) -> None:
        """The end of the step, and of the run, which hands the failure on unless `root` says
        otherwise."""
        bad = self.sick
        self.story.exit(step, code if bad else 0, signal=number if bad else 0)
        if not bad or root == 0:
            self.passes(0.1)
            self.ordinary()
        self.story.exit(
            self.root, (root if root is not None else code or 128 + number) if bad else 0
        )


Telling = Callable[[Teller], Truth]
STORIES: dict[str, tuple[str, Telling]] = {}


def _told(visible: str) -> Callable[[Telling], Telling]:
    def note(tell: Telling) -> Telling:
        STORIES[tell.__name__] = (visible, tell)
        return tell

    return note


@_told("K")
def killed_at_an_hour(t: Teller) -> Truth:
    step = t.step()
    t.until()
    number = t.draw.choice((signal.SIGKILL, signal.SIGTERM))
    if t.sick:
        t.story.signal(STRANGER, step, number, comm=t.draw.choice(("agent", "bash", "node")))
    t.ends(step, number=number)
    return Truth("kill.supervisor", {"pid": STRANGER.tgid})


@_told("K")
def out_of_memory_at_an_hour(t: Teller) -> Truth:
    step = t.step()
    t.until()
    if t.sick:
        t.story.oom(step)
    t.ends(step, number=signal.SIGKILL)
    return Truth("mem.cgroup_oom", {"pid": step.tgid}, also_right=("mem.child_oom",))


@_told("N")
def own_decision_at_an_hour(t: Teller) -> Truth:
    step = t.step()
    t.until()
    t.ends(step, t.draw.choice((1, 2, 3, 70)))
    return Truth("none.not_visible", verdict="not_visible")


@_told("K")
def crash_at_an_hour(t: Teller) -> Truth:
    step = t.step()
    t.until()
    if t.sick:
        t.story.signal(step, step, signal.SIGSEGV, code=1)
    t.ends(step, number=signal.SIGSEGV)
    return Truth("crash.segv", {"pid": step.tgid})


@_told("K")
def deadline_of_hours(t: Teller) -> Truth:
    guard = t.story.spawn(t.root, "timeout", "3600", "python3")
    step = t.step(guard)
    t.until()
    if t.sick:
        t.story.signal(guard, step, signal.SIGTERM, comm="timeout")
    t.story.exit(step, signal=signal.SIGTERM if t.sick else 0)
    t.ends(guard, 124)
    return Truth("kill.timeout_orphan", {"pid": step.tgid, "name": "timeout"})


@_told("K")
def masked_at_an_hour(t: Teller) -> Truth:
    step = t.step()
    t.until()
    t.ends(step, t.draw.choice((1, 3)), root=0)
    return Truth("proc.exit_masked", {"pids": [step.tgid, t.root.tgid]})


def _call(t: Teller, call: CallKind, error: int, cause: str) -> Truth:
    step = t.step()
    t.until()
    path = f"/data/{t.names.file()}"
    if t.sick:
        t.story.fact(
            CallFailed,
            step,
            call=call,
            error=error,
            call_number=1,
            path=path,
            first_boottime_ns=t.story.now,
            last_boottime_ns=t.story.now,
            failures=1,
        )
    t.ends(step, 1)
    return Truth(cause, {"path": path, "pid": step.tgid})


@_told("K")
def full_disk_at_an_hour(t: Teller) -> Truth:
    return _call(t, CallKind.WRITE, errno.ENOSPC, "fs.enospc")


@_told("K")
def denied_at_an_hour(t: Teller) -> Truth:
    return _call(t, CallKind.OPEN, errno.EACCES, "fs.eacces")


def draw(source: random.Random) -> str:
    return source.choice(tuple(STORIES))


def play(composition: Composition) -> tuple[Truth, str, dict[str, Any]]:
    """The truth, what of it is visible, and the report."""
    visible, tell = STORIES[composition.fault]
    teller = Teller(composition)
    for _ in range(teller.draw.choice((0, 1, 3))):
        teller.ordinary()
    truth = tell(teller)
    teller.passes(0.02)
    teller.story.finish()
    report: dict[str, Any] = json.loads(
        to_json(list(teller.story.core.incidents.reports.values())[-1])
    )
    return truth, visible, report
