"""Events that explain the end of a process: the OOM kill, the crash, and its open files."""

from __future__ import annotations

import msgspec

from receiver.constants import MEMBERS_NAMED
from receiver.events import Crash, OomKill, OomMember, OomMemory, OpenFile, ProcessKey
from receiver.facts.neighbours import Competitor
from receiver.facts.table import Table

KEPT_FILES = 64


class Death(msgspec.Struct, eq=False, kw_only=True):
    """The events that came before the exit. Mutable; owned by the table."""

    oom: OomKill | None = None
    # the memory that was full, and the processes that held it, as the OOM killer chose
    members: tuple[OomMember, ...] = ()
    memory: OomMemory | None = None
    crash: Crash | None = None  # the code location of the signal that killed it
    open_files: tuple[OpenFile, ...] = ()  # at a signal, and at death
    # the processes of its memory cgroup when the OOM killer chose it, itself first
    cgroup_processes: tuple[Competitor, ...] = ()


_NOTHING = Death()


class DeathTable(Table[Death]):
    def of(self, key: ProcessKey) -> Death:
        """To be read only."""
        return self.rows.get(key, _NOTHING)

    def _row(self, key: ProcessKey) -> Death:
        return self.rows.get(key) or self.put(key, Death())

    def member(self, event: OomMember) -> None:
        """Of the first choice only: the same victim can be chosen again before it is gone."""
        row = self._row(event.victim)
        if row.oom is not None:
            self.drops["repeated_oom_member"] += 1
        elif len(row.members) >= MEMBERS_NAMED + 2:  # the victim and the trigger are always named
            self.drops["too_many_oom_members"] += 1
        else:
            row.members = (*row.members, event)

    def memory(self, event: OomMemory) -> None:
        row = self._row(event.victim)
        if row.oom is not None or row.memory is not None:
            self.drops["repeated_oom_memory"] += 1
        else:
            row.memory = event

    def oom_killed(self, event: OomKill) -> bool:
        """False for a second event: the same victim was chosen again before it was gone."""
        row = self._row(event.victim)
        if row.oom is not None:
            return False
        row.oom = event
        return True

    def surrounded(self, key: ProcessKey, cgroup_processes: tuple[Competitor, ...]) -> None:
        self._row(key).cgroup_processes = cgroup_processes

    def crashed(self, event: Crash) -> None:
        self._row(event.process).crash = event

    def open_file(self, event: OpenFile, *, ended: bool) -> None:
        """`ended`: the exit was read before this event, which comes too late."""
        row = self._row(event.process)
        if ended or len(row.open_files) >= KEPT_FILES:
            self.drops["late_open_file" if ended else "too_many_open_files"] += 1
            return
        row.open_files = (*row.open_files, event)
