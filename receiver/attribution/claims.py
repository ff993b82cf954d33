"""What a recogniser can say of a process. It only reads; `receiver.observe.bindings` acts on what it says, in its order."""

from __future__ import annotations

import msgspec

from receiver.events import FileOpened
from receiver.facts.tree import Process
from receiver.model import Identity


class Bind(msgspec.Struct, frozen=True):
    """From now on the process and all that it starts do this work, inside of what they did already. An identity that is said
    to be certain is so only when `attribution.proof` finds the process proven; `opened` is the file that names the work."""

    identity: Identity
    process: Process | None = None  # None: the one that was asked about
    inner_only: bool = False  # too common a tool to be watched for its own sake
    port: int = 0  # it works for whoever listens there
    opened: FileOpened | None = None


class Expect(msgspec.Struct, frozen=True):
    """The next process that it forks does this work: it is that process's supervisor."""

    identity: Identity
    begun: bool = False  # before we came: it has forked that process already
    opened: FileOpened | None = None


class Idle(msgspec.Struct, frozen=True):
    """It has nothing to do any more: what it expected will not come."""


class Refine(msgspec.Struct, frozen=True):
    """Better names for the binding of this system that the process is in. Ids stay: they have been sent."""

    system: str
    type: str
    pipeline: str = ""
    run_id: str = ""
    task: str = ""
    evidence: str = ""


class Begin(msgspec.Struct, frozen=True):
    """One of the process's threads begins a step; what it did before is over."""

    identity: Identity
    thread: int


class End(msgspec.Struct, frozen=True):
    """Steps are over: the one of this thread, or all of them (0)."""

    thread: int = 0


class Role(msgspec.Struct, frozen=True):
    """What the process is to its framework. One that names work by the files it opens must be followed (`watch`).
    `program_of`: the system whose program the command line of its own image names; a title names none."""

    name: str
    watch: bool = False
    program_of: str = ""


class Imports(msgspec.Struct, frozen=True):
    """The process has opened a file of the package of its program. `trusted`: root or its own user owns that file, and nobody
    else may write it."""

    system: str
    trusted: bool


Claim = Bind | Expect | Idle | Refine | Begin | End | Role | Imports
Claims = tuple[Claim, ...]
