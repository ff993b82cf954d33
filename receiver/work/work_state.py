"""What few processes have besides their work: a role, steps, notes, an expected child."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from receiver.model import Identity
from receiver.work.execution import Execution

if TYPE_CHECKING:
    from receiver.work.worker import Worker


class WorkState(msgspec.Struct, eq=False, kw_only=True):
    """Mutable; only the methods of `receiver.work.worker.Worker` write it.

    It is a record of the process and no table by key, because each opened file asks for the steps
    and the notes: the look-up of a row would make every event dearer. A process without any of
    these shares the record NOTHING, so that a fork makes none.
    """

    # by thread: the thread's own work, where a process does several things
    steps: dict[int, Execution] = {}
    expects: Identity | None = None  # the work of the next process that it forks
    role: str = ""  # its role in its framework: "airflow scheduler", "spark executor", …
    # children whose work their framework has not named yet
    unnamed: tuple[Worker, ...] = ()
    notes: dict[str, str] = {}  # what recognisers remember of it, a few words
    detached_identities: tuple[object, ...] = ()  # work that it outlived, and its children, too
    # the system whose program its own image is, by the command line at exec
    program_of: str = ""
    # the owner of that program's package, from the opened files: "trusted", "third"; empty: not
    # seen
    package_owner: str = ""
    partition: str = ""  # the last data partition that it touched, as `key=value`


NOTHING = WorkState()
