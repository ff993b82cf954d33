"""How the children of a process ended, as it saw them."""

from __future__ import annotations

from enum import IntEnum

import msgspec

from receiver.events import ProcessKey
from receiver.facts.table import Table
from receiver.work.worker import Worker

KEPT_FAILED_CHILDREN = 64
KEPT_READERS = 16


class ExitSeverity(IntEnum):
    """The meaning of an end for the parent that saw it.

    It is set when the process ends, while its signals and files are still known.
    """

    SUCCESS = 0
    ANSWER = 1  # status 1 as an answer
    STOPPED = 2  # a script that stops its own helper, or a writer whose reader has read enough
    FAILED = 3  # exited with another status
    # OOM-killed, crashed, killed from outside its execution, or left a torn file: the work was not
    # done
    LOST_WORK = 4


class ChildEnd(msgspec.Struct, frozen=True, eq=False):
    """A child that ended, and the failures below it. It is kept when the tree has forgotten the
    child: the parent may run for hours.
    """

    child: Worker
    exit_severity: ExitSeverity
    below: tuple[ChildEnd, ...] = ()


class Children(msgspec.Struct, eq=False, kw_only=True):
    """The ended children of one process. Mutable; owned by the table."""

    failed: tuple[ChildEnd, ...] = ()
    last: ChildEnd | None = None
    succeeded_start_ns: int = 0  # the latest start among the children that succeeded
    # the standard inputs of the children that succeeded, the latest ones
    readers: tuple[int, ...] = ()
    collapsed: int = 0  # without a span of their own, with those below them


_NONE = Children()


def is_part_of_its_parent(process: Worker, failed: tuple[ChildEnd, ...]) -> bool:
    """Whether it is a fork that does the work of its parent, such as the `( … )` of a shell.

    Lost work is reported where it is seen first.
    """
    parent = process.parent
    return (
        not process.execs
        and parent is not None
        and parent.execution is process.execution
        and not any(c.exit_severity is ExitSeverity.LOST_WORK for c in failed)
    )


class ChildTable(Table[Children]):
    def of(self, key: ProcessKey) -> Children:
        """To be read only."""
        return self.rows.get(key, _NONE)

    def _row(self, parent: Worker) -> Children | None:
        """None for a parent that the tree has forgotten: nothing asks for its children any more."""
        if parent.forgotten:
            return None
        return self.rows.get(parent.key) or self.put(parent.key, Children())

    def child_ended(self, parent: Worker, child: Worker, exit_severity: ExitSeverity) -> None:
        """A success cancels earlier failures of the same command: it was a retry.

        A fork that starts other programs, such as the `( … )` of a shell, is a part of its parent:
        what failed below it counts as well.
        """
        row = self._row(parent)
        if row is None:
            return
        row.last = end = ChildEnd(child, exit_severity, self.of(child.key).failed)
        if not exit_severity:
            row.succeeded_start_ns = max(row.succeeded_start_ns, child.key.start_boottime_ns)
            if child.stdin_inode:
                row.readers = (*row.readers[1 - KEPT_READERS :], child.stdin_inode)
        if not exit_severity and not (end.below and is_part_of_its_parent(child, end.below)):
            if row.failed:
                row.failed = tuple(
                    c
                    for c in row.failed
                    if c.child.argv != child.argv
                    or c.exit_severity in (ExitSeverity.LOST_WORK, ExitSeverity.SUCCESS)
                )
        elif len(row.failed) < KEPT_FAILED_CHILDREN:
            row.failed = (*row.failed, end)
        else:
            self.drops["too_many_failed_children"] += 1

    def fold(self, parent: Worker, child: ProcessKey) -> None:
        """The child has no span: its parent's span counts it, and those that it counted."""
        row = self._row(parent)
        if row is not None:
            row.collapsed += 1 + self.of(child).collapsed
