"""What a parent did after the failure of a child that it did not pass on.

The kernel does not show whether a shell ran `A; B` or `A || B`: the failure of A was overlooked, or
B was meant for it. A later success of the same work makes the failure good.
"""

from __future__ import annotations

from collections.abc import Iterator

from receiver.investigate.case import Case
from receiver.investigate.descendants import written_by
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.work.children import ExitSeverity


def redone_by(case: Case, actor: ProcessSnapshot) -> ProcessSnapshot | None:
    """The later process of the same parent that did the work of `actor` with success.

    It ran the same command, or it wrote a file that `actor` had begun to write.
    """
    begun = case.descendants.written(actor)
    for parent in _starters(case, actor):
        found = case.descendants.did_alike(parent, actor.end_ns, actor.argv, begun)
        if found is not None:
            return found
        if _became_another(parent, actor) and (
            parent.argv == actor.argv or written_alike(case, actor, parent)
        ):
            return parent
    return None


def written_alike(case: Case, actor: ProcessSnapshot, later: ProcessSnapshot) -> frozenset[str]:
    """The files that both, or processes below them, opened for writing.

    Of what is below an ancestor of `actor`, `actor` itself is a part.
    """
    others = case.descendants.written(later)
    if later in case.above(actor):
        others = written_by((later,))
    return case.descendants.written(actor) & others


def followed_by(case: Case, actor: ProcessSnapshot) -> ProcessSnapshot | None:
    """The next process that the same parent started after the failure, and that succeeded.

    It is the parent itself where a shell became its last command. A fork of a shell, such as
    `( … )`, is a part of that shell.
    """
    for parent in _starters(case, actor):
        found = case.descendants.succeeded_since(parent, actor.end_ns)
        if found is not None:
            return found
        if _became_another(parent, actor):
            return parent
    return None


def overlooked(case: Case) -> Iterator[ProcessSnapshot]:
    """The failed processes after which their parent went on, to end with status 0.

    Those that are reported as lost, because nothing followed or work was lost, are none of them.
    Nor is what failed the work that it belongs to, whatever the status of that process is.
    """
    for actor in case:
        parent = case.get(actor.parent)
        if (
            actor.exit_severity is ExitSeverity.FAILED
            and not _is_reported(actor)
            and parent is not None
            and parent.exit is not None
            and parent.end.code == 0
        ):
            yield actor


def _is_reported(actor: ProcessSnapshot) -> bool:
    return any(
        each.failed_by or any(f.process == actor.key for f in each.findings)
        for each in actor.execution.chain()
    )


def _starters(case: Case, actor: ProcessSnapshot) -> Iterator[ProcessSnapshot]:
    """Its parent, and the process that each of them is a part of as a fork."""
    for parent in case.above(actor):
        yield parent
        if parent.execs:
            return


def _became_another(parent: ProcessSnapshot, actor: ProcessSnapshot) -> bool:
    """Whether it executed another program after the failure, and succeeded."""
    return parent.exec_ns >= actor.end_ns and parent.exit is not None and not parent.failed
