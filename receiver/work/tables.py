"""All tables of facts about processes, and the one place where a process is forgotten."""

from __future__ import annotations

from collections import Counter
from typing import Any, TypeAlias

from receiver.events import ProcessKey
from receiver.facts import files, versions
from receiver.facts.calls import CallTable
from receiver.facts.connections import ConnectionTable
from receiver.facts.deaths import DeathTable
from receiver.facts.failures import FailureTable, HolderTable
from receiver.facts.files import FileTable
from receiver.facts.moments import MomentTable
from receiver.facts.names import NameTable
from receiver.facts.neighbours import Neighbours
from receiver.facts.peers import PeerTable
from receiver.facts.reported import ReportedTable
from receiver.facts.signals import SignalTable
from receiver.facts.table import Table
from receiver.facts.usage import UsageTable
from receiver.facts.versions import VersionTable
from receiver.facts.waits import WaitTable
from receiver.work.children import ChildTable
from receiver.work.execution import Execution

Version: TypeAlias = versions.Version[Execution]
Use: TypeAlias = files.Use[Execution]


class Facts:
    """The tables by name. Every table is keyed by process and owned by its own module."""

    def __init__(self) -> None:
        self.keys: set[ProcessKey] = set()  # processes that have a row in any table
        self.calls = CallTable(self.keys)
        self.failures = FailureTable(self.keys)
        self.holders = HolderTable(self.keys)
        self.deaths = DeathTable(self.keys)
        self.moments = MomentTable(self.keys)
        self.versions = VersionTable[Execution]()  # of files, not by process
        self.files = FileTable[Execution](self.keys, self.versions)
        self.peers = PeerTable(self.keys)
        self.connections = ConnectionTable(self.keys, self.peers)
        self.names = NameTable(self.keys)
        self.waits = WaitTable(self.keys)
        self.usage = UsageTable(self.keys, self.waits)
        self.neighbours = Neighbours()  # processes that are not watched
        self.signals = SignalTable(self.keys)
        self.reported = ReportedTable(self.keys)
        self.children = ChildTable(self.keys)
        self.tables: tuple[Table[Any], ...] = (
            self.calls,
            self.failures,
            self.holders,
            self.deaths,
            self.moments,
            self.files,
            self.connections,  # before the peers, whose sums it completes
            self.peers,
            self.names,
            self.signals,
            self.waits,
            self.usage,
            self.reported,
            self.children,
        )

    def forget(self, key: ProcessKey) -> None:
        """Frees all rows of a process that the tree has forgotten."""
        self.keys.discard(key)
        for table in self.tables:
            table.forget(key)

    def drops(self) -> Counter[str]:
        return sum(
            (table.drops for table in self.tables), self.versions.drops + self.neighbours.drops
        )
