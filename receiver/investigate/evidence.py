"""Facts with their event ids, and their weight for or against a cause.

A fact is always made from an event, so that a report can cite only observed events. A weight is a
change of the log-odds: +2.3 makes a cause ten times as likely, -2.3 ten times less likely.

A cause card writes a weight as one of the words below. The weight that is used is counted from runs
whose cause is known (`weights`). The counted weight of a clue that few runs have is close to the
written one, and a clue that no run has keeps it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from receiver.events import Event, FileClosed, ProcessKey
from receiver.facts.usage import Point
from receiver.investigate.case import ClockStep, LossWindow
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.investigate.weights import WEIGHTS
from receiver.model import about
from receiver.text.event_text import event_line
from receiver.text.names import event_id, kind_name, mib
from receiver.work.tables import Use

Role = Literal["supports", "contradicts", "missing", "context"]
FACTS_PER_EVIDENCE = 8
STRONG = 4.0  # proof of the mechanism
CLEAR = 2.5  # hard to explain otherwise
SOME = 1.5  # telling
SLIGHT = 0.7  # a small sign
HINT = 0.3  # hardly more than nothing
RARE = 5  # the weight of a clue that fewer runs have is mostly a judgement


class Fact(msgspec.Struct, frozen=True):
    """One event as the kernel reported it."""

    id: str
    kind: str
    at_ns: int
    pid: int
    text: str


class Evidence(msgspec.Struct, frozen=True):
    """The meaning of some facts for one cause. `text` is a whole sentence.

    `clue` is the id of this meaning: the same clue has the same id in every report.
    """

    role: Role
    weight: float
    text: str
    facts: tuple[Fact, ...]
    clue: str = ""
    n: int = 0  # of runs that its weight was counted from


class Culprit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The object that has to change. Only the known fields are set."""

    type: Literal["process", "cgroup", "file", "endpoint", "task", "host", "unknown"]
    name: str = ""
    pid: int = 0
    start_boottime_ns: int = 0
    path: str = ""
    inode: int = 0
    device: int = 0
    cgroup: str = ""
    address: str = ""  # address:port
    task: str = ""
    signal: str = ""
    host: str = ""  # the host of the culprit, in a report across hosts
    # The sender of the earlier signal, if the culprit is a file.
    sender: Culprit | None = None

    @property
    def identity(self) -> tuple[object, ...]:
        return (
            self.type,
            self.pid,
            self.start_boottime_ns,
            self.path,
            self.cgroup,
            self.address,
            self.name if not self.pid else "",
        )


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One cause with its culprit, and the evidence for and against it."""

    cause: str
    culprit: Culprit
    summary: str
    evidence: tuple[Evidence, ...]
    subject: ProcessKey | None = None  # the process that was affected
    at_ns: int = 0  # boot time of the event
    harms_without_failure: bool = False  # the cause does harm even if no process fails
    # of a delay: its process failed because it no longer waited
    gave_up: bool = False
    goes_on: bool = False  # of a delay: the wait is not over
    # what to change, with the object and its numbers; empty: the fix of the class says it
    remedy: str = ""
    # each rival with the fact that decides against it
    ruled_out: tuple[tuple[str, Evidence], ...] = ()

    @property
    def score(self) -> float:
        return sum(e.weight for e in self.evidence)


def fact(event: Event, path: str = "") -> Fact:
    """Makes a fact from an event. `path` names the file if the event does not."""
    if not path and isinstance(event, FileClosed):
        path = f"inode {event.inode}"
    return Fact(
        event_id(event),
        kind_name(type(event)),
        event.time_boottime_ns,
        about(event).tgid,
        event_line(event, "", path).strip(),
    )


def facts(*events: Event | None) -> tuple[Fact, ...]:
    return tuple(fact(e) for e in events if e is not None)


def facts_of_use(use: Use) -> tuple[Fact, ...]:
    """Returns the opening and the close of a file."""
    return tuple(fact(e, use.path) for e in (use.opened, use.closed) if e is not None)


def fact_of_point(pid: int, name: str, point: Point) -> Fact:
    """Returns the fact for one memory sample of a process."""
    at_ns, held, event = point
    return Fact(event, "process_sample", at_ns, pid, f"sample  {pid} ({name}) held {mib(held)}")


def fact_of_loss(loss: LossWindow) -> Fact:
    return Fact(
        f"lost-{loss.kind}-{loss.at_ns}",
        "events_lost",
        loss.at_ns,
        0,
        f"{loss.count} {loss.kind} events lost ({loss.reason})",
    )


def fact_of_clock_step(step: ClockStep) -> Fact:
    return Fact(
        f"clock-{step.at_ns}",
        "clock_step",
        step.at_ns,
        0,
        f"the wall clock moved by {step.delta_ns / 1e9:+.3f} s",
    )


def ends(actor: ProcessSnapshot) -> tuple[Fact, ...]:
    return facts(actor.exit)


def _evidence(role: Role, clue: str, written: float, text: str, found: Iterable[Fact]) -> Evidence:
    """The written weight has a sign."""
    known = WEIGHTS.get(clue, {}).get(round(written, 2), (written, 0, 0))
    weight, right, wrong = known
    return Evidence(role, weight, text, tuple(found)[:FACTS_PER_EVIDENCE], clue, right + wrong)


def supports(clue: str, weight: float, text: str, found: Iterable[Fact]) -> Evidence:
    return _evidence("supports", clue, weight, text, found)


def contradicts(clue: str, weight: float, text: str, found: Iterable[Fact]) -> Evidence:
    return _evidence("contradicts", clue, -weight, text, found)


def missing(clue: str, weight: float, text: str, found: Iterable[Fact]) -> Evidence:
    """Returns evidence for a missing trace. `found` shows that the trace would have been seen."""
    return _evidence("missing", clue, -weight, text, found)


def context(clue: str, text: str, found: Iterable[Fact]) -> Evidence:
    """Returns evidence that changes no probability."""
    return Evidence("context", 0.0, text, tuple(found)[:FACTS_PER_EVIDENCE], clue)


def process_culprit(actor: ProcessSnapshot) -> Culprit:
    return Culprit(
        type="process",
        name=actor.script or actor.name,
        pid=actor.pid,
        start_boottime_ns=actor.start_ns,
    )


def file_culprit(use: Use, sender: Culprit | None = None) -> Culprit:
    path = use.version.path if use.version is not None else use.path
    return Culprit(type="file", path=path, inode=use.key[1], device=use.key[0], sender=sender)
