"""The claims that a recogniser can make about a process.

A recogniser only reads. `receiver.observe.bindings` applies its claims in order.
"""

from __future__ import annotations

import msgspec

from receiver.events import FileOpened
from receiver.model import Identity
from receiver.work.worker import Worker


class Bind(msgspec.Struct, frozen=True):
    """The process and all its later children do this work, inside of their current work.

    An identity with the grade "certain" keeps it only when `attribution.proof` finds the process
    proven. `opened` is the file that names the work.
    """

    identity: Identity
    process: Worker | None = None  # None: the process that the recogniser was asked about
    inner_only: bool = False  # the tool is too common to watch it outside of other work
    port: int = 0  # it works for the process that listens on this port
    opened: FileOpened | None = None


class Expect(msgspec.Struct, frozen=True):
    """The next process that it forks does this work. The process itself is the supervisor."""

    identity: Identity
    # it existed before the observer started, so it may have forked that process already
    begun: bool = False
    opened: FileOpened | None = None


class Idle(msgspec.Struct, frozen=True):
    """The process is idle again: the child that it expected never appeared."""


class Refine(msgspec.Struct, frozen=True, kw_only=True):
    """Better names for the work of this system that the process does.

    The ids stay: they are already exported.
    """

    system: str
    type: str
    pipeline: str = ""
    run_id: str = ""
    task: str = ""
    evidence: str = ""


class Begin(msgspec.Struct, frozen=True):
    """A thread of the process begins a step. The step that this thread did before is over."""

    identity: Identity
    thread: int


class End(msgspec.Struct, frozen=True):
    """Steps are over: the step of this thread, or all steps of the process (thread 0).

    `seen`: they ended now. Otherwise they have ended by now.
    """

    thread: int = 0
    seen: bool = True


class Role(msgspec.Struct, frozen=True):
    """The role of the process in its framework.

    `watch`: its opened files name work, so its system calls must be observed. `program_of`: the
    system whose program the command line of its own image names; a title does not set it.
    """

    name: str
    watch: bool = False
    program_of: str = ""


class Imports(msgspec.Struct, frozen=True):
    """The process has opened a file of its program's package.

    `trusted`: root or its own user owns that file, and no other user may write it.
    """

    system: str
    trusted: bool


Claim = Bind | Expect | Idle | Refine | Begin | End | Role | Imports
Claims = tuple[Claim, ...]
