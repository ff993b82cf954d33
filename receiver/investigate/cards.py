"""What a cause card is. `investigate.causes` has one file with a card for each cause class.

`predicts` completes the sentence "No event shows …" for a rival without evidence. `needs` are the
kinds of events that must be complete for this sentence to be true. `visible` is K if kernel facts
prove the cause. It is P if they prove only the mechanism, and the reason needs other data.

`brings` states what else the cause brings about, and `begins_with` what may have happened before it
in the same incident. Both name classes, and the relation that must hold between the two processes.
The engine checks each relation on the facts of the case (`investigate.relations`). `find` are the
functions that yield the candidates of the class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum

import msgspec

from receiver.investigate.case import Case
from receiver.investigate.evidence import Candidate

Finder = Callable[[Case], Iterator[Candidate]]
Absence = Callable[[Case, Candidate], str]  # of a rival, against a lead


class Via(Enum):
    """How the process of a cause and the process of its effect are connected."""

    SAME = "process"  # it is the same process
    PARENT = "parent"  # the process of the effect is the parent, or has the same parent
    ANCESTOR = "exit"  # the process of the effect is the same one, or started it
    # as ANCESTOR, and one that had started the process of the effect ended it
    STARTER = "deadline"
    SIGNAL = "signal"  # one signal, or signals of one sender, ended both; or one sent it
    CONNECTION_ENDS = "socket"  # they are the two ends of a connection
    SAME_ENDPOINT = "endpoint"  # both wait for the same address, or it is the same process
    SAME_FILE = "file"  # two processes used the same file
    PIPE = "pipe"  # they are the two ends of a pipe
    CGROUP = "memory"  # they are in the same memory cgroup
    LOCK = "lock"  # one holds the lock that the other waits for


class Nature(Enum):
    """What a cause alone can do to a process."""

    FAULT = "fault"  # it can end a process, or make it fail
    DELAY = "delay"  # it only delays: a process fails of it where a deadline ends the wait
    FACET = "facet"  # how a failure stayed unnoticed: it leads where nothing else is visible


class Relation(msgspec.Struct, frozen=True):
    """Classes that follow from a cause. `names` may end with a dot: then it is a whole family.

    `strict`: the effect must be later. Otherwise it may be seen a little earlier than its cause.
    """

    names: tuple[str, ...]
    via: Via
    strict: bool = False


class Fix(msgspec.Struct, frozen=True):
    tag: str
    text: str


class CauseClass(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    title: str
    predicts: str
    rivals: tuple[str, ...]
    fix: Fix
    visible: str = "K"
    needs: tuple[str, ...] = ()
    nature: Nature = Nature.FAULT
    # what it damages, such as a file, can make any other process fail
    spreads: bool = False
    brings: tuple[Relation, ...] = ()
    begins_with: tuple[Relation, ...] = ()
    find: tuple[Finder, ...] = ()
    # a better sentence than the prediction where nothing speaks for it; empty if it does not hold
    absence: Absence | None = None
    # an agent reports it if the real cause is on another host
    may_be_remote: bool = False
    # the finding that shows it, on a host without an investigation
    finding: str = ""

    @property
    def family(self) -> str:
        return self.name.partition(".")[0]

    @property
    def by(self) -> str:
        """What connects the cause with the process that it affected."""
        return _BY.get(self.family, "exit")


_BY = {
    "mem": "memory",
    "kill": "signal",
    "fs": "file",
    "net": "socket",
    "db": "socket",
    "cpu": "cpu",
    "hang": "wait",
    "crash": "signal",
    "lim": "limit",
    "data": "file",
    "time": "clock",
}


def to(names: str, via: Via, *, strict: bool = False) -> Relation:
    """The relation to the classes in `names`, which are separated by spaces."""
    return Relation(tuple(names.split()), via, strict)


def cause_class(
    *,
    name: str,
    title: str,
    predicts: str,
    rivals: str,
    tag: str,
    fix: str,
    visible: str = "K",
    needs: str = "signal exit",
    nature: Nature = Nature.FAULT,
    spreads: bool = False,
    brings: tuple[Relation, ...] = (),
    begins_with: tuple[Relation, ...] = (),
    find: tuple[Finder, ...] = (),
    absence: Absence | None = None,
    may_be_remote: bool = False,
    finding: str = "",
) -> CauseClass:
    return CauseClass(
        name=name,
        title=title,
        predicts=predicts,
        rivals=tuple(rivals.split()),
        fix=Fix(tag, fix),
        visible=visible,
        needs=tuple(needs.split()),
        nature=nature,
        spreads=spreads,
        brings=brings,
        begins_with=begins_with,
        find=find,
        absence=absence,
        may_be_remote=may_be_remote,
        finding=finding,
    )
