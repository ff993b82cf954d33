"""A process together with the work that it does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from receiver.events import Exec, Existing, ProcessKey
from receiver.facts.process import Process
from receiver.facts.tree import ProcessTree
from receiver.model import Identity
from receiver.work.execution import Execution
from receiver.work.work_state import NOTHING, WorkState

KEPT_UNNAMED = 64  # children of one process that wait for a name


class Worker(Process):
    """A process of the tree with its work.

    `execution` and `watched_ns` are slots, because each fork sets them and most events read them;
    `receiver.observe.members` writes them. `receiver.synthesis.spans` writes `spanned` at each
    exit. All else is in the record `_state`, which most processes do not have, and which only the
    methods of this class write.
    """

    __slots__ = ("_state", "execution", "spanned", "watched_ns")

    def __init__(self, key: ProcessKey, parent: Self | None, comm: str, uid: int) -> None:
        super().__init__(key, parent, comm, uid)
        self.watched_ns = 0  # since when its system calls are observed; 0: they are not
        self.execution: Execution | None = None  # the innermost execution; its `outer` ones follow
        self.spanned = False  # a span names it as its parent, or is its own span
        self._state = NOTHING
        if parent is not None and (outlived := parent.detached_identities):
            self._own_state().detached_identities = outlived

    def image(self, event: Exec | Existing) -> None:
        if self._state is not NOTHING:
            self._state.program_of = self._state.package_owner = ""
        super().image(event)

    def forget(self) -> None:
        """Frees what refers to other objects. The words stay: a child that lives on still asks
        which program its parent was.
        """
        super().forget()
        if self._state is not NOTHING:
            self._state.steps = {}
            self._state.unnamed = ()

    def _own_state(self) -> WorkState:
        if self._state is NOTHING:
            self._state = WorkState()
        return self._state

    # -- steps of its threads

    @property
    def steps(self) -> Mapping[int, Execution]:
        """The work of its threads, in the order in which it began."""
        return self._state.steps

    def begin_step(self, thread: int, execution: Execution) -> None:
        self._own_state().steps[thread] = execution

    def end_step(self, thread: int) -> Execution | None:
        return self._state.steps.pop(thread, None)

    def working_for(self, thread: int, path: str = "") -> Execution | None:
        """The work of one of its threads.

        This is the thread's own step. For a thread of a pool, it is the step that the path names,
        else the step that began last. A process without steps gives its own work.
        """
        steps = self._state.steps
        if not steps:
            return self.execution
        if thread in steps:
            return steps[thread]
        name = path.rpartition("/")[2]
        return next(
            (s for s in steps.values() if s.identity.task in name), list(steps.values())[-1]
        )

    # -- the work of its children

    @property
    def expects(self) -> Identity | None:
        """The work of the next process that it forks."""
        return self._state.expects

    def expect(self, identity: Identity) -> None:
        self._own_state().expects = identity

    def take_expected(self) -> Identity | None:
        """The work that it expects of a child; it expects none any more."""
        expected = self._state.expects
        if expected is not None:
            self._state.expects = None
        return expected

    @property
    def unnamed(self) -> tuple[Worker, ...]:
        """Children whose work their framework has not named yet."""
        return self._state.unnamed

    def add_unnamed(self, child: Worker) -> None:
        """Of too many, the oldest one is forgotten."""
        state = self._own_state()
        state.unnamed = (*state.unnamed[1 - KEPT_UNNAMED :], child)

    def keep_unnamed(self, children: tuple[Worker, ...]) -> None:
        """Only these still wait for a name."""
        if self._state is not NOTHING:
            self._state.unnamed = children

    # -- what recognisers found

    @property
    def role(self) -> str:
        """Its role in its framework: "airflow scheduler", "spark executor", …"""
        return self._state.role

    @property
    def program_of(self) -> str:
        """The system whose program its own image is, by the command line at exec."""
        return self._state.program_of

    def take_role(self, role: str, program_of: str) -> None:
        """`program_of`: empty where a title shows the role."""
        state = self._own_state()
        state.role, state.program_of = role, program_of or state.program_of

    @property
    def package_owner(self) -> str:
        """Who owns the package of its program: "trusted", "third"; empty: not seen."""
        return self._state.package_owner

    def imports(self, *, trusted: bool) -> None:
        """Its program has imported the package. One file of a third user is enough for "third"."""
        state = self._own_state()
        if state.package_owner != "third":
            state.package_owner = "trusted" if trusted else "third"

    @property
    def notes(self) -> Mapping[str, str]:
        """What recognisers remember of it, by the recogniser's name or by an attribute's."""
        return self._state.notes

    def remember(self, name: str, text: str) -> None:
        self._own_state().notes[name] = text

    # -- what it did

    @property
    def partition(self) -> str:
        """The last data partition that it touched, as `key=value`."""
        return self._state.partition

    def touch_partition(self, partition: str) -> None:
        self._own_state().partition = partition

    @property
    def detached_identities(self) -> tuple[object, ...]:
        """Work that it, or the parent that forked it, has outlived."""
        return self._state.detached_identities

    def detach(self, identity: object) -> None:
        """It outlives this work: it does no step of it any more, and never joins it again."""
        state = self._own_state()
        state.detached_identities = (*state.detached_identities, identity)
        state.steps.clear()


Tree = ProcessTree[Worker]
