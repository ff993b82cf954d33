"""What the processes below each process did. Each is looked at once, and not for every question."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable

import msgspec

from receiver.events import ProcessKey
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.work.children import ExitSeverity

_Trait = str | tuple[str, ...]  # the path of a file that it wrote, or its command line
_Relatives = Callable[[ProcessSnapshot], list[ProcessSnapshot]]


class _Family(msgspec.Struct, frozen=True, eq=False):
    """The children of one process that succeeded, in order of their start."""

    members: list[ProcessSnapshot]
    starts: list[int]
    places: dict[_Trait, list[int]]  # in `members`, of those with this trait


class Descendants:
    """The descendants of each process of a case."""

    def __init__(self, children: _Relatives, below: _Relatives) -> None:
        self._children, self._below = children, below
        self._families: dict[ProcessKey, _Family] = {}
        self._written: dict[ProcessKey, frozenset[str]] = {}
        self._last_failures: dict[ProcessKey, int] = {}

    def last_failure_ns(self, actor: ProcessSnapshot) -> int:
        """Returns when the last of those failed that failed before its end; 0 if none did."""
        known = self._last_failures.get(actor.key)
        if known is None:
            failed = (c for c in self._below(actor) if c.exit_severity >= ExitSeverity.FAILED)
            known = max((c.end_ns for c in failed if c.end_ns <= actor.end_ns), default=0)
            self._last_failures[actor.key] = known
        return known

    def succeeded_since(self, parent: ProcessSnapshot, time_ns: int) -> ProcessSnapshot | None:
        """Returns the first child that started at this time or later, and succeeded."""
        family = self._family(parent)
        place = bisect_left(family.starts, time_ns)
        return family.members[place] if place < len(family.members) else None

    def did_alike(
        self, parent: ProcessSnapshot, time_ns: int, argv: tuple[str, ...], paths: Iterable[str]
    ) -> ProcessSnapshot | None:
        """Returns the first such child that ran this command, or wrote one of these files."""
        family = self._family(parent)
        first = bisect_left(family.starts, time_ns)
        traits: list[_Trait] = [argv, *paths]
        found: list[int] = []
        for trait in traits:
            places = family.places.get(trait, [])
            found += places[(at := bisect_left(places, first)) : at + 1]
        return family.members[min(found)] if found else None

    def written(self, actor: ProcessSnapshot) -> frozenset[str]:
        """Returns the files that it and those below it opened for writing, but for logs."""
        known = self._written.get(actor.key)
        if known is None:
            known = self._written[actor.key] = written_by((actor, *self._below(actor)))
        return known

    def _family(self, parent: ProcessSnapshot) -> _Family:
        known = self._families.get(parent.key)
        if known is not None:
            return known
        members = [c for c in self._children(parent) if c.exit is not None and not c.failed]
        places: dict[_Trait, list[int]] = {}
        for place, each in enumerate(members):
            traits: list[_Trait] = [each.argv, *self.written(each)]
            for trait in traits:
                places.setdefault(trait, []).append(place)
        family = _Family(members, [c.start_ns for c in members], places)
        self._families[parent.key] = family
        return family


def written_by(actors: Iterable[ProcessSnapshot]) -> frozenset[str]:
    """Returns the files that these processes opened for writing, but for logs."""
    return frozenset(
        use.path
        for each in actors
        for use in each.uses
        if use.writing and use.path and not use.path.endswith(".log")
    )
