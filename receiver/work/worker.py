"""A process together with the work that it does."""

from __future__ import annotations

from typing import Self

from receiver.events import Exec, Existing, ProcessKey
from receiver.facts.process import Process
from receiver.facts.tree import ProcessTree
from receiver.model import Identity
from receiver.work.execution import Execution


class Worker(Process):
    """A process of the tree, with its work and what its recognisers and its parent know of it."""

    __slots__ = (
        "detached_identities",
        "execution",
        "expects",
        "notes",
        "package_owner",
        "partition",
        "program_of",
        "role",
        "spanned",
        "steps",
        "unnamed",
        "watched_ns",
    )

    def __init__(self, key: ProcessKey, parent: Self | None, comm: str, uid: int) -> None:
        super().__init__(key, parent, comm, uid)
        self.watched_ns = 0  # since when its system calls are observed; 0: they are not
        self.execution: Execution | None = None  # the innermost execution; its `outer` ones follow
        # by thread: the thread's own work, where a process does several things
        self.steps: dict[int, Execution] = {}
        self.expects: Identity | None = None  # the work of the next process that it forks
        self.role = ""  # its role in its framework: "airflow scheduler", "spark executor", …
        # children whose work their framework has not named yet
        self.unnamed: tuple[Self, ...] = ()
        self.notes: dict[str, str] = {}  # what recognisers remember of it, a few words
        # bindings that it outlived
        self.detached_identities: tuple[object, ...] = parent.detached_identities if parent else ()
        # the system whose program its own image is, by the command line at exec
        self.program_of = ""
        # the owner of that program's package, from the opened files: "trusted", "third"; empty: not
        # seen
        self.package_owner = ""
        self.partition = ""  # the last data partition that it touched, as `key=value`
        self.spanned = False  # a span names it as its parent, or is its own span

    def image(self, event: Exec | Existing) -> None:
        self.program_of = self.package_owner = ""
        super().image(event)

    def forget(self) -> None:
        super().forget()
        self.steps = {}
        self.unnamed = ()

    def working_for(self, thread: int, path: str = "") -> Execution | None:
        """The work of one of its threads.

        This is the thread's own step. For a thread of a pool, it is the step that the path names,
        else the step that began last. A process without steps gives its own work.
        """
        if not self.steps:
            return self.execution
        if thread in self.steps:
            return self.steps[thread]
        name = path.rpartition("/")[2]
        return next(
            (s for s in self.steps.values() if s.identity.task in name),
            list(self.steps.values())[-1],
        )


Tree = ProcessTree[Worker]
