"""The graph of one case: which candidate brought about which, and what each of them explains."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import msgspec

from receiver.investigate.cards import CauseClass, Nature
from receiver.investigate.case import Case
from receiver.investigate.classes import CLASSES
from receiver.investigate.evidence import Candidate, Evidence
from receiver.investigate.reach import came_after, failures, lineage, reach, through
from receiver.investigate.relations import Tie, brought_by, may_bring


class Edge(msgspec.Struct, frozen=True, eq=False):
    """A cause, its effect, and the fact that connects them."""

    cause: int
    effect: int
    tie: Tie


class Graph:
    """The candidates of a case by number, with the edges between them.

    `log_odds` converts a score. A candidate explains others only if it is more likely than not.
    """

    def __init__(
        self, case: Case, candidates: Sequence[Candidate], log_odds: Callable[[float], float]
    ) -> None:
        self._case, self._log_odds = case, log_odds
        possible = _edges(case, candidates)
        self._failed = failures(case)
        # the number of the failure that failed the task
        self._origin = self._failed.index(case.origin) if case.origin in self._failed else None
        self.nodes = self._reached(candidates, possible)
        self._parents = self._chosen(possible)
        self._covers: dict[int, set[int]] = {}

    def _reached(self, candidates: Sequence[Candidate], edges: list[Edge]) -> tuple[Candidate, ...]:
        """Adds what the place of each candidate, and of its effects, says for or against it."""
        case, out = self._case, []
        own = [reach(case, each, self._failed) for each in candidates]
        for number, each in enumerate(candidates):
            mine = [e.effect for e in edges if e.cause == number and not e.tie.before]
            brought = [(candidates[n].cause, own[n]) for n in mine]
            covers = lineage(case, each, self._failed)
            # Late does not matter for what explains a failure of its own.
            late = came_after(case, each) if self._origin in covers or not covers else None
            more = (late, through(own[number], brought))
            out.append(_with(each, *(e for e in more if e is not None)))
        return tuple(out)

    def _chosen(self, possible: list[Edge]) -> dict[int, Edge]:
        """One cause for each effect: the most likely one, and never in a circle."""
        parents: dict[int, Edge] = {}
        for edge in sorted(possible, key=lambda e: (self._rank(e.cause), self._rank(e.effect))):
            if (
                edge.effect not in parents
                and self.is_likely(edge.cause)
                and edge.effect not in _ancestors(parents, edge.cause)
            ):
                parents[edge.effect] = edge
        return parents

    def _rank(self, number: int) -> tuple[object, ...]:
        return (*self.order(number), number)

    def is_likely(self, number: int) -> bool:
        return self._log_odds(self.nodes[number].score) >= 0

    def parent(self, number: int) -> Edge | None:
        return self._parents.get(number)

    def effects(self, number: int) -> list[Edge]:
        """The edges to the effects, and to their effects, in order of time."""
        out: list[Edge] = []
        queue = [number]
        while queue:
            at = queue.pop()
            mine = [e for e in self._parents.values() if e.cause == at]
            out += mine
            queue += [e.effect for e in mine]
        return sorted(out, key=lambda e: (self.nodes[e.effect].at_ns, e.effect))

    def covers(self, number: int) -> set[int]:
        """The failures that it explains, by itself or by an effect."""
        if number not in self._covers:
            found = lineage(self._case, self.nodes[number], self._failed)
            for edge in self.effects(number):
                found |= lineage(self._case, self.nodes[edge.effect], self._failed)
            self._covers[number] = found
        return self._covers[number]

    def order(self, number: int) -> tuple[object, ...]:
        """Sorts candidates: the most likely one first."""
        each = self.nodes[number]
        return (-each.score, each.at_ns, each.cause, each.summary)

    def explains_the_task(self, number: int) -> bool:
        """Whether it explains the failure of the task itself, and not only another one."""
        each = self.nodes[number]
        if self._origin is None or (each.harms_without_failure and CLASSES[each.cause].spreads):
            return True
        return self._origin in self.covers(number)

    def meets_a_deadline(self, number: int) -> bool:
        """Whether it ends in something that can fail a process: a kill, for example."""
        return any(nature_of(self.nodes[e.effect]) is Nature.FAULT for e in self.effects(number))


def nature_of(candidate: Candidate) -> Nature:
    known: CauseClass = CLASSES[candidate.cause]
    return known.nature


def _ancestors(parents: dict[int, Edge], number: int) -> set[int]:
    out = {number}
    while (edge := parents.get(number)) is not None:
        number = edge.cause
        out.add(number)
    return out


def _edges(case: Case, candidates: Sequence[Candidate]) -> list[Edge]:
    """Returns every relation that holds between two candidates, whatever their scores are."""
    by_class: dict[str, list[int]] = defaultdict(list)
    for number, each in enumerate(candidates):
        by_class[each.cause].append(number)
    out: list[Edge] = []
    for name, causes in by_class.items():
        known = CLASSES[name]
        followers = [n for c in by_class if may_bring(known, c) for n in by_class[c]]
        for number in causes:
            for other in followers:
                if other != number:
                    tie = brought_by(case, candidates[other], candidates[number], known)
                    if tie is not None:
                        out.append(Edge(number, other, tie))
    return out


def _with(candidate: Candidate, *more: Evidence) -> Candidate:
    return msgspec.structs.replace(candidate, evidence=(*candidate.evidence, *more))
