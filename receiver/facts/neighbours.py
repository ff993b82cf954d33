"""Processes that are not watched, and what they take from those that are."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque

import msgspec

from receiver.events import Neighbour, OomMember, ProcessKey
from receiver.facts.usage import Point
from receiver.units import SECOND

NEIGHBOURS = 512
WINDOW_NS = 60 * SECOND


class Competitor(msgspec.Struct, frozen=True, kw_only=True):
    """A process that took a resource. It is reported by name, never by its arguments."""

    pid: int
    name: str
    growth_bytes: int
    cpu_ns: int
    key: ProcessKey | None = None
    rss_bytes: int = 0
    points: tuple[Point, ...] = ()  # its memory over time
    own: bool = False  # it does the same work
    # its memory when the OOM killer chose a victim, where the kernel half looked at once
    member: OomMember | None = None
    growth_known: bool = True  # False: it was never sampled, and is older than the time in question


class Neighbours:
    """Processes that are not watched and that recently grew or used CPU.

    The one sampled least recently is evicted first.
    """

    def __init__(self) -> None:
        self.drops: Counter[str] = Counter()
        self._looks: OrderedDict[ProcessKey, deque[Neighbour]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._looks)

    def add(self, look: Neighbour) -> None:
        looks = self._looks.setdefault(look.process, deque(maxlen=60))
        looks.append(look)
        self._looks.move_to_end(look.process)
        if len(self._looks) > NEIGHBOURS:
            self._looks.popitem(last=False)
            self.drops["forgotten_neighbour"] += 1

    def top(
        self, now_ns: int, *, memory_cgroup_id: int = 0, by_cpu: bool = False
    ) -> Competitor | None:
        """The processes that took most in the last minute: memory of one cgroup, memory of the
        host, or CPU.
        """
        found = self.all(now_ns, memory_cgroup_id=memory_cgroup_id)
        return max(found, key=lambda t: t.cpu_ns if by_cpu else t.growth_bytes, default=None)

    def all(self, now_ns: int, *, memory_cgroup_id: int = 0) -> list[Competitor]:
        """The amount that each of them took in the last minute."""
        out: list[Competitor] = []
        for key, looks in self._looks.items():
            recent = [n for n in looks if now_ns - n.time_boottime_ns <= WINDOW_NS]
            if memory_cgroup_id:
                recent = [n for n in recent if n.shares_memory_cgroup]
            if not recent:
                continue
            growth = sum(_signed(n.rss_growth_bytes) for n in recent)
            points = tuple(
                (n.time_boottime_ns, n.rss_bytes, f"{n.cpu}-{n.sequence}") for n in recent
            )
            cpu_ns = sum(n.cpu_ns for n in recent)
            out.append(
                Competitor(
                    pid=key.tgid,
                    name=recent[-1].comm,
                    growth_bytes=growth,
                    cpu_ns=cpu_ns,
                    key=key,
                    rss_bytes=recent[-1].rss_bytes,
                    points=points,
                )
            )
        return out


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
